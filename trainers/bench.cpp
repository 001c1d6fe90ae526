#include "trainers/bench.h"

#include <torch/torch.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "trainers/memory.h"
#include "trainers/step/train_step.h"

namespace switchyard {
namespace {

constexpr int64_t kWarmupSteps = 3;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

}  // namespace

std::vector<std::string> bench_forms() {
  return {"mixtral", "fine"};
}

TrainConfig bench_config(const std::string& form, const std::string& precision) {
  TrainConfig config;
  config.model.num_layers = 4;
  config.model.hidden_dim = 256;
  config.model.num_heads = config.model.num_kv_heads = 4;
  config.model.head_dim = 64;
  config.model.max_seq_len = 256;
  config.data.num_domains = 16;
  config.data.content_tokens = 1008;  // with the domain tags a vocabulary of 1024
  config.train.sequences_per_step = config.train.micro_sequences = 8;
  config.train.precision = precision;
  BalanceOptions load_balance;
  load_balance.coef = 0.001;
  load_balance.scope = "micro_batch";
  config.moe.balance = {load_balance};
  if (form == "mixtral") {
    config.moe.num_experts = 8;
    config.moe.top_k = 2;
    config.moe.expert_dim = 512;
    config.moe.router.type = "mixtral";
  } else if (form == "fine") {
    config.moe.num_experts = 64;
    config.moe.top_k = 6;
    config.moe.expert_dim = 128;
    config.moe.router.normalize = false;
    config.model.qk_norm = "head";
  } else {
    throw ConfigError(
        fmt::format("bench: {} is not a form; known: {}", form, fmt::join(bench_forms(), ", ")));
  }
  return config;
}

Throughput bench_end_to_end(const std::string& form, const std::string& precision, int64_t steps,
                            Communicator& world, at::Device device) {
  TrainConfig config = bench_config(form, precision);
  config.train.steps = kWarmupSteps + steps;
  const auto training = build_training(config, world, device);
  const ModelSize size = model_size(training->config);
  Throughput result;
  result.form = form;
  result.precision = precision;
  result.device = device.str();
  result.params_total = size.total;
  result.params_active = size.active;
  result.ranks = world.size();
  result.threads = torch::get_num_threads();
  std::vector<double> rates;
  for (int64_t step = 0; step < config.train.steps; ++step) {
    const StepReport report = train_step(*training);
    if (step < kWarmupSteps) continue;
    result.step_ms.push_back(report.step_ms);
    rates.push_back(report.tokens_per_s);
  }
  result.tokens_per_s_median = median(rates);
  result.tokens_per_s_best = *std::max_element(rates.begin(), rates.end());
  result.peak_mb = peak_memory_of_largest_rank(world) / (1 << 20);
  if (device.is_cuda())
    result.peak_gpu_mb = peak_gpu_memory_of_largest_rank(world, device) / (1 << 20);
  return result;
}

std::string to_json(const Throughput& t) {
  nlohmann::ordered_json json = {{"form", t.form},
                                 {"precision", t.precision},
                                 {"device", t.device},
                                 {"params", t.params_total},
                                 {"active", t.params_active},
                                 {"tok_s_median", t.tokens_per_s_median},
                                 {"tok_s_best", t.tokens_per_s_best},
                                 {"step_ms", t.step_ms},
                                 {"peak_mb", t.peak_mb},
                                 {"ranks", t.ranks},
                                 {"threads", t.threads}};
  if (t.peak_gpu_mb) json["peak_gpu_mb"] = *t.peak_gpu_mb;
  return json.dump();
}

}  // namespace switchyard
