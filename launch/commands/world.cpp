#include <torch/torch.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <new>
#include <thread>

#include "core/config/nearest.h"
#include "launch/commands/command.h"
#include "launch/device.h"
#include "parallel/checkpoint/together.h"
#include "parallel/comm/factory.h"
#include "parallel/comm/mpi.h"

namespace switchyard {
namespace {

// An error that every rank meets is rank 0's to report. One that a single rank meets alone is its
// own: it waits a moment for rank 0 to end the job, and speaks when nothing happens.
[[noreturn]] void end_all_ranks(const ProcessPlace& place, MpiSession& session) {
  if (place.rank != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1500));
  const ExitCode code = report_error();
  session.end_all_ranks(static_cast<int>(code));
}

// LibTorch's text has lines of where it was thrown behind the first.
std::string first_line(const std::exception& error) {
  const auto* torch = dynamic_cast<const c10::Error*>(&error);
  const std::string text = torch ? torch->what_without_backtrace() : error.what();
  return one_line(text.substr(0, text.find('\n')));
}

bool is_out_of_memory(const std::exception& error) {
  return dynamic_cast<const c10::OutOfMemoryError*>(&error) ||
         dynamic_cast<const std::bad_alloc*>(&error) ||
         first_line(error).find("DefaultCPUAllocator") != std::string::npos;
}

}  // namespace

void add_overrides(CLI::App& command, std::vector<std::string>& overrides) {
  command.add_option("overrides", overrides, "key.path=value, as in the config");
}

void check_output(Communicator& world, const std::string& option, const std::string& path) {
  run_on_first(world, [&] {
    const std::filesystem::path folder = std::filesystem::path(path).parent_path();
    std::error_code ignored;
    if (std::filesystem::is_directory(path, ignored))
      throw ConfigError(fmt::format("{}: {} is a folder; allowed: a file", option, path));
    if (!folder.empty() && !std::filesystem::is_directory(folder, ignored))
      throw ConfigError(fmt::format("{}: there is no folder {}", option, folder.string()));
  });
}

ExitCode report_error() {
  try {
    throw;
  } catch (const Error& error) {
    fmt::print(stderr, "error: {}\n", one_line(error.what()));
    return error.code();
  } catch (const std::exception& error) {
    if (is_out_of_memory(error))
      fmt::print(stderr,
                 "error: [memory] {}; a smaller model or train.micro_sequences needs less\n",
                 first_line(error));
    else
      fmt::print(stderr, "error: [internal] {}\n", first_line(error));
  }
  return ExitCode::kInternal;
}

ExitCode with_world(const WorldRequest& request, const WorldBody& body) {
  const ProcessPlace place = process_place();
  const std::string warning = widen_binding(place);
  if (!warning.empty()) fmt::print(stderr, "warning: {}\n", one_line(warning));
  torch::set_num_threads(num_threads(place, request.threads));
  torch::set_num_interop_threads(1);
  const auto run = [&] {
    const c10::Device device = choose_device(request.device, place);
    const auto world = make_world({request.backend, place.launched, device});
    return body(*world, device);
  };
  if (!place.launched) return run();
  MpiSession session;
  try {
    return run();
  } catch (...) {
    end_all_ranks(place, session);
  }
}

}  // namespace switchyard
