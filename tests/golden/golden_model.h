#pragma once

#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/base/partition.h"
#include "tests/support/hf_folder.h"
#include "tests/support/largest.h"
#include "trainers/import/hf_folder.h"
#include "trainers/import/hf_tensors.h"
#include "trainers/import/import_hf.h"
#include "trainers/step/training.h"

namespace switchyard::golden {

const std::vector<std::string> kModels = {"llama",
                                          "mixtral",
                                          "olmoe",
                                          "olmoe_grouped",
                                          "qwen2_moe",
                                          "qwen2_moe_every_second",
                                          "qwen3_moe",
                                          "qwen3_moe_mixed",
                                          "deepseek_v2",
                                          "deepseek_v2_greedy",
                                          "deepseek_v3",
                                          "deepseek_v3_plain",
                                          "deepseek_v2_yarn",
                                          "deepseek_v3_yarn",
                                          "qwen3_moe_yarn",
                                          "llama_llama3",
                                          "llama_linear"};

/// A model and what another program computes with it; data/PROVENANCE.md tells how it was made.
struct Golden {
  std::string name;
  test::Tensors values;
  ImportedModel imported;

  const at::Tensor& operator()(const std::string& key) const { return values.at(key); }
};

inline Golden read_golden(const std::string& name) {
  SystemFileOps files;
  const std::string folder = test::golden_folder(name);
  return {name, test::read_tensors(folder + "/golden.safetensors"), load_hf(files, folder)};
}

/// The run of a golden model: its optimizer, no balance terms, micro-batches of a whole step.
inline TrainConfig run_of(const Golden& golden, int64_t sequences) {
  TrainConfig config = golden.imported.model.config;
  config.train.sequence_length = golden("train.ids").size(2) - 1;
  config.train.sequences_per_step = config.train.micro_sequences = sequences;
  config.train.steps = golden("train.ids").size(0);
  config.optim.lr = config.optim.min_lr = 3e-3;
  config.optim.schedule = "constant";
  config.optim.warmup_steps = 0;
  config.optim.betas = {0.9, 0.95};
  config.optim.eps = 1e-8;
  config.optim.weight_decay = 0.1;
  config.optim.clip_norm = 1.0;
  return config;
}

inline std::unique_ptr<Training> build(const Golden& golden, int64_t sequences,
                                       Communicator& world) {
  auto training = build_training(run_of(golden, sequences), world, torch::kCPU);
  test::Tensors given;
  for (const StateItem& item : golden.imported.state) given[item.name] = item.tensor;
  const torch::NoGradGuard no_grad;
  for (const StateItem& item : model_state(*training)) item.tensor.copy_(given.at(item.name));
  return training;
}

/// |a − b| over the size of b.
inline double relative(const at::Tensor& a, const at::Tensor& b) {
  if (a.sizes() != b.sizes()) return INFINITY;
  return test::or_infinite((a.detach() - b).norm().item<double>() /
                           (b.norm().item<double>() + 1e-30));
}

}  // namespace switchyard::golden
