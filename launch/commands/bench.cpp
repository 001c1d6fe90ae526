#include <fstream>

#include "launch/commands/command.h"
#include "trainers/bench.h"

namespace switchyard {
namespace {

struct Arguments {
  std::string form = "mixtral", precision = "fp32", device = "auto", json;
  int64_t steps = 10;
};

ExitCode run(const Arguments& arguments, Communicator& world, c10::Device device) {
  check_output(world, "--json", arguments.json);
  const Throughput result =
      bench_end_to_end(arguments.form, arguments.precision, arguments.steps, world, device);
  if (world.rank() != 0) return ExitCode::kDone;
  const std::string gpu =
      result.peak_gpu_mb ? fmt::format(" and {:.0f} MB of GPU memory", *result.peak_gpu_mb) : "";
  fmt::print(
      "{}: {:.0f} tokens/s median, {:.0f} best, peak {:.0f} MB{}, {} rank(s) × {} thread(s)\n",
      result.form, result.tokens_per_s_median, result.tokens_per_s_best, result.peak_mb, gpu,
      result.ranks, result.threads);
  if (arguments.json.empty()) return ExitCode::kDone;
  std::ofstream file(arguments.json);
  file << to_json(result) << "\n";
  if (!file) throw IoError(fmt::format("{} cannot be written", arguments.json));
  return ExitCode::kDone;
}

}  // namespace

void add_bench_command(CLI::App& app, Command& chosen) {
  CLI::App& group = *app.add_subcommand("bench", "Performance figures of this machine");
  group.require_subcommand(1);
  CLI::App& command = *group.add_subcommand(
      "end_to_end", "Training throughput of the forms that others are timed at");
  const auto arguments = std::make_shared<Arguments>();
  command.add_option("--form", arguments->form, "mixtral or fine")->capture_default_str();
  command.add_option("--precision", arguments->precision, "fp32, fp64 or bf16")
      ->check(CLI::IsMember({"fp32", "fp64", "bf16"}))
      ->capture_default_str();
  command.add_option("--device", arguments->device, "auto, cpu or cuda")
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  command.add_option("--steps", arguments->steps, "steps timed, after 3 of warm-up")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--json", arguments->json, "write one JSON object to this file");
  command.callback([&chosen, arguments] {
    chosen = [arguments] {
      return with_world(
          {.device = arguments->device},
          [&](Communicator& world, c10::Device device) { return run(*arguments, world, device); });
    };
  });
}

}  // namespace switchyard
