#include "trainers/doctor.h"

#include <sched.h>
#include <torch/torch.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "core/base/error.h"

namespace switchyard {
namespace {

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

Finding cores(const DoctorFacts& facts) {
  const int64_t all = sysconf(_SC_NPROCESSORS_ONLN);
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  const int64_t usable = CPU_COUNT(&set);
  Finding finding{"cores", fmt::format("{} of {} usable, {}", usable, all, processor_name()), ""};
  const int64_t wanted = static_cast<int64_t>(facts.num_threads) * facts.local_ranks;
  if (wanted > all)
    finding.fix =
        fmt::format("{} ranks × {} threads want {} cores: lower run.threads or OMP_NUM_THREADS",
                    facts.local_ranks, facts.num_threads, wanted);
  if (usable < facts.num_threads)
    finding.fix = fmt::format(
        "this rank is bound to {} core(s) but runs {} threads: start it with "
        "launch/run.sh, or mpirun --bind-to none",
        usable, facts.num_threads);
  return finding;
}

Finding memory() {
  const double gigabyte = 1 << 30;
  const double total =
      static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  const double free =
      static_cast<double>(sysconf(_SC_AVPHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  Finding finding{"memory",
                  fmt::format("{:.1f} GiB free of {:.1f}", free / gigabyte, total / gigabyte), ""};
  if (free < gigabyte) finding.fix = "less than 1 GiB is free: end other programs";
  return finding;
}

// The median of three is enough to tell a machine that works from one that is halved.
Finding matrix_product() {
  torch::NoGradGuard no_grad;
  const auto a = torch::randn({1024, 1024}), b = torch::randn({1024, 1024});
  std::vector<double> seconds;
  for (int i = 0; i < 4; ++i) {
    const auto start = std::chrono::steady_clock::now();
    torch::mm(a, b);
    seconds.push_back(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  std::sort(seconds.begin(), seconds.end());
  const double rate = 2.0 * 1024 * 1024 * 1024 / seconds[1] / 1e9;
  return {"matrix product",
          fmt::format("{:.0f} GFLOP/s in fp32 with {} thread(s)", rate, torch::get_num_threads()),
          ""};
}

Finding gpu(const DoctorFacts& facts) {
  if (!torch::cuda::is_available()) return {"GPU", "none that LibTorch can use", ""};
  const auto count = static_cast<int64_t>(torch::cuda::device_count());
  Finding finding{"GPU", fmt::format("{} device(s)", count), ""};
  if (facts.local_ranks > count)
    finding.fix =
        fmt::format("{} ranks here: one rank per GPU, or run.device=cpu", facts.local_ranks);
  return finding;
}

Finding disk(const std::string& folder) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path place = fs::absolute(folder, error);
  while (!fs::exists(place, error) && place.has_parent_path() && place != place.parent_path())
    place = place.parent_path();
  const auto space = fs::space(place, error);
  Finding finding{"disk", "", ""};
  if (error) {
    finding.found = place.string() + " cannot be examined";
    finding.fix = error.message();
    return finding;
  }
  const double gigabytes = static_cast<double>(space.available) / (1 << 30);
  finding.found = fmt::format("{:.1f} GiB free for {}", gigabytes, folder);
  if (access(place.c_str(), W_OK) != 0)
    finding.fix = fmt::format("{} is not writable: set run.dir", place.string());
  else if (gigabytes < 1)
    finding.fix = "less than 1 GiB is free: checkpoints may not fit";
  return finding;
}

}  // namespace

std::vector<Finding> examine(const DoctorFacts& facts) {
  std::vector<Finding> findings{cores(facts), memory(), matrix_product(), gpu(facts),
                                disk(facts.run_folder)};
  findings.push_back({"ranks",
                      fmt::format("{} ({} on this host), {} thread(s) each", facts.num_ranks,
                                  facts.local_ranks, facts.num_threads),
                      ""});
  return findings;
}

std::string to_text(const std::vector<Finding>& findings) {
  std::string text;
  int problems = 0;
  for (const Finding& finding : findings) {
    text += fmt::format("{}  {:<15} {}\n", finding.fix.empty() ? "ok " : "!! ", finding.what,
                        finding.found);
    if (finding.fix.empty()) continue;
    ++problems;
    text += fmt::format("     {:<15} → {}\n", "", finding.fix);
  }
  return text + (problems == 0 ? "Nothing is wrong.\n" : fmt::format("{} problem(s).\n", problems));
}

}  // namespace switchyard
