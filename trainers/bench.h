#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "trainers/config/train_config.h"

namespace switchyard {

/// Training throughput of one model form.
struct Throughput {
  std::string form, precision, device;
  int64_t params_total = 0, params_active = 0;
  double tokens_per_s_median = 0, tokens_per_s_best = 0;
  std::vector<double> step_ms;
  double peak_mb = 0;                 ///< largest rank's peak resident set
  std::optional<double> peak_gpu_mb;  ///< largest rank's peak of GPU memory in use
  int64_t ranks = 1, threads = 1;
};

/// Names of the forms that bench end_to_end knows, those timed against other trainers:
///   mixtral  4 layers, hidden 256, 8 experts of 512, top-2, sequences of 256, vocabulary 1024
///   fine     the same with 64 experts of 128, top-6 and a norm per head (Qwen3-MoE's form)
std::vector<std::string> bench_forms();
TrainConfig bench_config(const std::string& form, const std::string& precision);

/// Trains `form` for warmup + steps optimizer steps of 8 sequences on synthetic data, this rank's
/// share on `device`. Collective.
Throughput bench_end_to_end(const std::string& form, const std::string& precision, int64_t steps,
                            Communicator& world, at::Device device);

/// One JSON object.
std::string to_json(const Throughput& throughput);

}  // namespace switchyard
