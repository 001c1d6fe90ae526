#include <catch2/catch.hpp>

#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "tests/support/largest.h"
#include "tests/support/tiny_run.h"

// The program on a GPU against itself on the CPU. Without a GPU each case says so and does nothing.

namespace switchyard::test {
namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

bool has_gpu() {
  static const bool found = [] {
    const TempFolder temp;
    return run(switchyard(0, {"doctor"}), temp.path()).out.find("none that LibTorch can use") ==
           std::string::npos;
  }();
  if (!found) std::cout << "skipped: no GPU here\n";
  return found;
}

const char* const kModel = R"(
run: {threads: 1}
model: {num_layers: 4, hidden_dim: 32, num_heads: 2, num_kv_heads: 1, head_dim: 16, max_seq_len: 32}
data: {type: synthetic, num_domains: 4, content_tokens: 32}
optim: {warmup_steps: 2, lr: 3e-3}
train: {steps: 6, sequences_per_step: 16, micro_sequences: 8}
eval: {every: 6, sequences: 32}
checkpoint: {every: 6}
log: {every: 1, tensorboard: false}
)";

struct Job {
  std::string name;
  Words overrides;
};

/// The published recipes of configs/moe, then what none of them has.
std::vector<Job> every_way(const TempFolder& temp) {
  std::vector<Job> jobs;
  for (const auto& entry : fs::directory_iterator(source_path("/configs/moe"))) {
    const std::string name = entry.path().stem();
    temp.write(name + ".yaml", "base: switchyard/moe/" + name + kModel);
    jobs.push_back({name, {}});
  }
  std::sort(jobs.begin(), jobs.end(), [](const Job& a, const Job& b) { return a.name < b.name; });
  const std::vector<Job> others = {
      {"next_choice", {"moe.capacity.factor=1", "moe.capacity.overflow=next_choice"}},
      {"probability", {"moe.capacity.factor=1", "moe.capacity.order=probability"}},
      {"batch_priority", {"moe.capacity.factor=1", "moe.capacity.order=batch_priority"}},
      {"random", {"moe.capacity.factor=1", "moe.capacity.order=random"}},
      {"renormalize", {"moe.capacity.factor=1", "moe.capacity.renormalize=true"}},
      {"sequence", {"moe.capacity.factor=1", "moe.capacity.scope=sequence"}},
      {"exact", {"moe.balance=[{type: load_balance, f: exact, coef: 0.01}, {type: entropy}]"}},
      {"pid", {"moe.bias.type=pid", "moe.bias.kp=0.01", "moe.router.score=sqrtsoftplus"}},
      {"recompute", {"train.recompute=full", "moe.router.gating_residual=true"}},
      {"latent_attention", {"model.attention=mla"}},
      {"long",
       {"model.max_seq_len=512", "model.num_heads=4", "model.num_kv_heads=4", "model.head_dim=64",
        "data.content_tokens=64"}},
  };
  for (const Job& job : others) {
    temp.write(job.name + ".yaml", kModel);
    jobs.push_back(job);
  }
  return jobs;
}

std::vector<Job> named(std::vector<Job> jobs, const std::set<std::string>& names) {
  std::erase_if(jobs, [&](const Job& job) { return !names.contains(job.name); });
  REQUIRE(jobs.size() == names.size());
  return jobs;
}

std::string folder_of(const Job& job, const std::string& tag) {
  return job.name + "." + tag;
}

/// Trains all jobs, some at a time, into NAME.TAG.
void train_all(const TempFolder& temp, const std::vector<Job>& jobs, const std::string& tag,
               const Words& overrides) {
  constexpr size_t kAtOnce = 8;
  for (size_t first = 0; first < jobs.size(); first += kAtOnce) {
    std::vector<std::unique_ptr<Program>> programs;
    const size_t last = std::min(jobs.size(), first + kAtOnce);
    for (size_t i = first; i < last; ++i) {
      const std::string folder = folder_of(jobs[i], tag);
      Words words = {"train", temp.path(jobs[i].name + ".yaml"), "run.dir=" + temp.path(folder)};
      words.insert(words.end(), jobs[i].overrides.begin(), jobs[i].overrides.end());
      words.insert(words.end(), overrides.begin(), overrides.end());
      programs.push_back(std::make_unique<Program>(switchyard(0, words), temp.path(), folder));
    }
    for (size_t i = first; i < last; ++i) {
      const Outcome outcome = programs[i - first]->wait();
      INFO(folder_of(jobs[i], tag) << ": " << outcome.err);
      CHECK(outcome.code == 0);
    }
  }
}

std::vector<nlohmann::json> steps_of(const TempFolder& temp, const std::string& folder) {
  std::vector<nlohmann::json> steps;
  for (const auto& line : lines_of(temp.read(folder + "/metrics.jsonl"))) {
    const auto entry = nlohmann::json::parse(line);
    if (!entry.contains("event")) steps.push_back(entry);
  }
  return steps;
}

/// Largest relative difference of nll; loads must be equal where `same_loads`.
double difference(const TempFolder& temp, const std::string& a, const std::string& b,
                  bool same_loads) {
  const auto ours = steps_of(temp, a), theirs = steps_of(temp, b);
  INFO(a << " and " << b);
  REQUIRE(!ours.empty());
  REQUIRE(ours.size() == theirs.size());
  Largest worst;
  for (size_t i = 0; i < ours.size(); ++i) {
    const double x = ours[i].at("nll"), y = theirs[i].at("nll");
    worst.see((x - y) / y);
    if (same_loads) CHECK(ours[i].at("moe").at("load") == theirs[i].at("moe").at("load"));
  }
  return worst.value();
}

std::string state_hash(const TempFolder& temp, const std::string& folder) {
  return summary_of(temp, folder).at("state_hash");
}

}  // namespace

TEST_CASE("Every recipe decides and learns on a GPU as on the CPU, in fp64") {
  if (!has_gpu()) return;
  const TempFolder temp;
  const auto jobs = every_way(temp);
  train_all(temp, jobs, "cpu", {"train.precision=fp64", "run.device=cpu"});
  train_all(temp, jobs, "gpu", {"train.precision=fp64", "run.device=cuda"});
  Largest worst;
  for (const Job& job : jobs) {
    const double d = difference(temp, folder_of(job, "cpu"), folder_of(job, "gpu"), true);
    INFO(job.name << ": " << d);
    CHECK(d < 1e-10);
    worst.see(d);
  }
  worst.print("gpu: nll against the CPU's, fp64");
}

TEST_CASE("A GPU gives the same bits twice, in fp32 and bf16, and nearly the CPU's") {
  if (!has_gpu()) return;
  const TempFolder temp;
  const auto jobs =
      named(every_way(temp), {"deepseek_v3", "gshard", "moe_plus_plus", "sinkhorn", "next_choice",
                              "recompute", "latent_attention", "long"});
  train_all(temp, jobs, "cpu", {"run.device=cpu"});
  for (const std::string precision : {"fp32", "bf16"}) {
    train_all(temp, jobs, precision + "a", {"train.precision=" + precision, "run.device=cuda"});
    train_all(temp, jobs, precision + "b", {"train.precision=" + precision, "run.device=cuda"});
    Largest worst;
    for (const Job& job : jobs) {
      const std::string a = folder_of(job, precision + "a"), b = folder_of(job, precision + "b");
      INFO(a);
      CHECK(state_hash(temp, a) == state_hash(temp, b));
      CHECK(difference(temp, a, b, true) == 0);
      const double d = difference(temp, a, folder_of(job, "cpu"), false);
      INFO(d);
      CHECK(d < (precision == "fp32" ? 1e-4 : 0.02));
      worst.see(d);
    }
    worst.print("gpu: nll against the CPU's, " + precision);
  }
}

TEST_CASE("A run goes on from a checkpoint of the other device") {
  if (!has_gpu()) return;
  const TempFolder temp;
  const std::vector<Job> jobs = named(every_way(temp), {"deepseek_v3"});
  const auto to = [](const char* steps, const char* device) {
    return Words{std::string("train.steps=") + steps, std::string("run.device=") + device,
                 "optim.schedule=constant", "train.precision=fp64"};
  };
  train_all(temp, jobs, "whole", to("12", "cpu"));
  train_all(temp, jobs, "whole_gpu", to("12", "cuda"));
  for (const auto& [tag, first, second] :
       {std::tuple{"to_gpu", "cpu", "cuda"}, {"to_cpu", "cuda", "cpu"}, {"stay", "cuda", "cuda"}}) {
    train_all(temp, jobs, tag, to("6", first));
    train_all(temp, jobs, tag, to("12", second));
    CHECK(difference(temp, folder_of(jobs[0], tag), folder_of(jobs[0], "whole"), true) < 1e-10);
  }
  CHECK(state_hash(temp, folder_of(jobs[0], "stay")) ==
        state_hash(temp, folder_of(jobs[0], "whole_gpu")));
}

TEST_CASE("Checkpoints evaluate on a GPU as on the CPU") {
  if (!has_gpu()) return;
  const TempFolder temp;
  const std::vector<Job> jobs = named(every_way(temp), {"gshard", "remoe"});
  train_all(temp, jobs, "run", {"train.precision=fp64", "run.device=cpu", "checkpoint.every=2"});
  for (const Job& job : jobs) {
    const auto evaluated = [&](const std::string& device) {
      const std::string json = temp.path(device + ".json");
      const auto outcome = run(switchyard(0, {"eval", temp.path(folder_of(job, "run")), "--history",
                                              "run.device=" + device, "--json", json}),
                               temp.path());
      INFO(outcome.err);
      REQUIRE(outcome.code == 0);
      return nlohmann::json::parse(read_text(json)).at("checkpoints");
    };
    const auto cpu = evaluated("cpu"), gpu = evaluated("cuda");
    REQUIRE(cpu.size() == 3);
    REQUIRE(gpu.size() == 3);
    for (size_t i = 0; i < 3; ++i) {
      CHECK(gpu[i].at("val_nll").get<double>() ==
            Approx(cpu[i].at("val_nll").get<double>()).epsilon(1e-12));
      for (const char* name : {"load", "saturation", "saturation_first", "churn", "churn_first"})
        CHECK(gpu[i].at("moe").at(name) == cpu[i].at("moe").at(name));
    }
  }
}

TEST_CASE("Ranks that share a GPU through NCCL give one rank's decisions and loss") {
  if (!has_gpu()) return;
  const TempFolder temp;
  const std::vector<Job> jobs = {
      {"one", {"moe.capacity.factor=1.25", "moe.capacity.order=batch_priority"}}};
  temp.write("one.yaml", kModel);
  const Words gpu = {"train.precision=fp64", "run.device=cuda"};
  train_all(temp, jobs, "rank", gpu);
  for (const std::string expert : {"1", "2"}) {
    Words words = {source_path("/launch/run.sh"),
                   "-n",
                   "2",
                   source_path("/tests/support/own_host.sh"),
                   binary_path(),
                   "train",
                   temp.path("one.yaml"),
                   "run.dir=" + temp.path("one.ranks" + expert),
                   "parallel.expert=" + expert};
    words.insert(words.end(), jobs[0].overrides.begin(), jobs[0].overrides.end());
    words.insert(words.end(), gpu.begin(), gpu.end());
    const auto outcome = run(words, temp.path());
    INFO(outcome.err);
    REQUIRE(outcome.code == 0);
    const double d = difference(temp, "one.ranks" + expert, "one.rank", true);
    std::cout << "gpu: nll of 2 ranks, expert axis " << expert << ": " << d << "\n";
    CHECK(d < 1e-12);
  }
}

}  // namespace switchyard::test
