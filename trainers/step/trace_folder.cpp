#include "trainers/step/trace_folder.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <filesystem>
#include <map>

#include "core/base/error.h"
#include "core/checkpoint/safetensors.h"
#include "parallel/checkpoint/together.h"

namespace switchyard {
namespace {

using Metadata = std::map<std::string, std::string>;

std::string tensor_name(int64_t layer) {
  return fmt::format("layers.{}.expert_ids", layer);
}

std::string file_of(const std::string& folder, int64_t step) {
  return (std::filesystem::path(folder) / fmt::format("step-{:08}.safetensors", step + 1)).string();
}

std::vector<int64_t> moe_layers(const TrainConfig& config) {
  std::vector<int64_t> layers;
  for (int64_t layer = 0; layer < config.model.num_layers; ++layer)
    if (config.moe.layers.contains(layer)) layers.push_back(layer);
  return layers;
}

std::map<int64_t, int64_t> experts_of_layers(const TrainConfig& config) {
  std::map<int64_t, int64_t> experts;
  for (const int64_t layer : moe_layers(config))
    experts[layer] = config.moe.of_layer(config.moe.layers.count_before(layer)).num_routable();
  return experts;
}

std::string experts_text(const TrainConfig& config) {
  if (config.moe.layer_experts.empty()) return std::to_string(config.moe.num_routable());
  std::string all;
  for (const auto& [layer, experts] : experts_of_layers(config))
    all += fmt::format("{}{}", all.empty() ? "" : ", ", experts);
  return all;
}

Metadata metadata_of(const TrainConfig& config) {
  Metadata metadata{{"format", "pt"}};
  metadata["moe.num_experts"] = experts_text(config);
  metadata["moe.top_k"] = std::to_string(config.moe.top_k);
  metadata["train.sequences_per_step"] = std::to_string(config.train.sequences_per_step);
  metadata["train.sequence_length"] = std::to_string(config.sequence_length());
  std::string layers;
  for (const int64_t layer : moe_layers(config))
    layers += fmt::format("{}{}", layers.empty() ? "" : ", ", layer);
  metadata["MoE layers"] = layers;
  return metadata;
}

class Folder final : public TraceFolder {
 public:
  Folder(FileOps& files, Communicator& world, const TrainConfig& config)
      : files_(files),
        world_(world),
        record_(config.train.record_routing),
        replay_(config.train.replay_routing),
        metadata_(metadata_of(config)),
        layers_(moe_layers(config)),
        tokens_(config.train.sequences_per_step * config.sequence_length()),
        top_k_(config.moe.top_k),
        experts_of_(experts_of_layers(config)) {
    run_on_first(world_, [&] { check(config); });
  }

  void begin_step(int64_t step) override {
    step_ = step;
    if (!replay_.empty()) run_together(world_, [&] { read_step(); });
    if (record_.empty()) return;
    for (const int64_t layer : layers_)
      recorded_[layer] = at::zeros({tokens_, top_k_}, at::kInt);  // 0 = no token of this rank
  }

  at::Tensor replayed(const RoutingContext& context, int64_t num_tokens) const override {
    const auto found = given_.find(context.layer);
    if (found == given_.end()) return {};
    return found->second.narrow(0, context.first_token, num_tokens).to(at::kLong);
  }

  void record(const RoutingContext& context, const at::Tensor& expert_ids_TK) override {
    if (record_.empty()) return;
    recorded_.at(context.layer)
        .narrow(0, context.first_token, expert_ids_TK.size(0))
        .copy_(expert_ids_TK + 2);
  }

  void end_step() override {
    if (record_.empty()) return;
    StateList tensors;
    for (auto& [layer, ids] : recorded_) {
      at::Tensor sum = ids.to(at::kLong);
      world_.all_reduce({sum}, ReduceOp::kSum)->wait();
      tensors.push_back({tensor_name(layer), (sum - 2).to(at::kInt)});
    }
    run_on_first(world_, [&] { write_step(tensors); });
  }

 private:
  void check(const TrainConfig& config) {
    if (replay_.empty()) return;
    for (int64_t step = 0; step < config.train.steps; ++step) {
      const std::string path = file_of(replay_, step);
      if (files_.kind(path) != FileOps::Kind::kFile)
        throw ConfigError(fmt::format(
            "train.replay_routing: {} is missing; a run of train.steps: {} replays as many", path,
            config.train.steps));
    }
    const std::string path = file_of(replay_, 0);
    const SafetensorsFile file(files_, path);
    for (const auto& [key, value] : metadata_) {
      const auto found = file.header().metadata.find(key);
      const std::string recorded = found == file.header().metadata.end() ? "none" : found->second;
      if (recorded != value)
        throw ConfigError(
            fmt::format("train.replay_routing: {} was recorded with {}: {}, this run has {}", path,
                        key, recorded, value));
    }
  }

  void read_step() {
    const std::string path = file_of(replay_, step_);
    const SafetensorsFile file(files_, path);
    for (const int64_t layer : layers_) {
      at::Tensor ids = file.read(tensor_name(layer));
      const int64_t experts = experts_of_.at(layer);
      const bool fits = ids.scalar_type() == at::kInt && ids.dim() == 2 && ids.size(0) == tokens_ &&
                        ids.size(1) == top_k_;
      if (!fits || ids.lt(-1).any().item<bool>() || ids.ge(experts).any().item<bool>())
        throw CheckpointError(fmt::format("{}: {} is not int32 [{}, {}] with experts below {}",
                                          path, tensor_name(layer), tokens_, top_k_, experts));
      given_[layer] = ids;
    }
  }

  void write_step(const StateList& tensors) {
    const std::string path = file_of(record_, step_), partial = path + ".partial";
    make_folders(files_, record_);
    if (files_.kind(partial) == FileOps::Kind::kFile) files_.remove_file(partial);
    write_safetensors(files_, partial, tensors, metadata_);
    files_.rename(partial, path);
  }

  FileOps& files_;
  Communicator& world_;
  std::string record_, replay_;  // "" = not
  Metadata metadata_;
  std::vector<int64_t> layers_;
  int64_t tokens_, top_k_;
  std::map<int64_t, int64_t> experts_of_;  // by layer
  int64_t step_ = 0;
  std::map<int64_t, at::Tensor> given_, recorded_;  // by layer: [tokens of the step, K]
};

}  // namespace

std::unique_ptr<TraceFolder> open_trace_folder(FileOps& files, Communicator& world,
                                               const TrainConfig& config) {
  if (config.train.record_routing.empty() && config.train.replay_routing.empty()) return nullptr;
  return std::make_unique<Folder>(files, world, config);
}

}  // namespace switchyard
