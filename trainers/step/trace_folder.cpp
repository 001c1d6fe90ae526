#include "trainers/step/trace_folder.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <charconv>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>

#include "core/base/as_bad_input.h"
#include "core/base/error.h"
#include "core/checkpoint/hash.h"
#include "core/checkpoint/safetensors.h"
#include "core/checkpoint/strict_json.h"
#include "parallel/checkpoint/together.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using Metadata = std::map<std::string, std::string>;

constexpr const char* kRecord = "train.record_routing";
constexpr const char* kReplay = "train.replay_routing";
constexpr std::string_view kPrefix = "step-", kSuffix = ".safetensors";
constexpr size_t kLongestData = 200;  // of a fingerprint that is written out

std::string tensor_name(int64_t layer) {
  return fmt::format("layers.{}.expert_ids", layer);
}

/// The file of what is decided after `step` steps.
std::string file_of(const std::string& folder, int64_t step) {
  return (fs::path(folder) / fmt::format("{}{:08}{}", kPrefix, step + 1, kSuffix)).string();
}

/// The steps done with such a file's; nothing for other names.
std::optional<int64_t> steps_of(std::string_view name) {
  if (name.size() < kPrefix.size() + kSuffix.size()) return std::nullopt;
  const std::string_view digits =
      name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
  int64_t steps = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), steps);
  if (steps < 1 || file_of("", steps - 1) != name) return std::nullopt;
  return steps;
}

fs::path absolute(const std::string& path) {
  fs::path whole = (fs::current_path() / path).lexically_normal();
  return whole.has_filename() ? whole : whole.parent_path();  // without a trailing slash
}

bool is_within(const std::string& path, const std::string& folder) {
  const fs::path relative = absolute(path).lexically_relative(absolute(folder));
  return !relative.empty() && *relative.begin() != "..";
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

template <class List>
std::string joined(const List& list) {
  return fmt::format("{}", fmt::join(list, ", "));
}

/// What makes decisions of one run decisions about the tokens of another, in layers of the same
/// kind. Router, balance, bias and capacity may differ: their effect is what a replay separates.
Metadata identity_of(const TrainConfig& config, const std::string& data) {
  const MoEOptions& moe = config.moe;
  Metadata identity;
  const auto add = [&](const char* key, int64_t value) { identity[key] = std::to_string(value); };
  identity["data"] = data.size() <= kLongestData ? data : "hash " + hash_hex(data);
  add("run.seed", config.run.seed);
  add("train.sequences_per_step", config.train.sequences_per_step);
  add("train.sequence_length", config.sequence_length());
  if (config.data.sampler == "single_domain")  // gives each micro-batch a domain
    add("train.micro_sequences", config.train.micro_sequences);
  add("model.num_layers", config.model.num_layers);
  add("model.hidden_dim", config.model.hidden_dim);
  add("model.vocab_size", *config.model.vocab_size);
  identity["MoE layers"] = joined(moe_layers(config));
  identity["moe.num_experts"] =
      moe.layer_experts.empty() ? std::to_string(moe.num_experts) : joined(moe.layer_experts);
  add("moe.zero_experts", moe.zero_experts);
  add("moe.copy_experts", moe.copy_experts);
  add("moe.constant_experts", moe.constant_experts);
  add("moe.top_k", moe.top_k);
  return identity;
}

/// Refuses a file that holds another identity; `option` is what names its folder.
void check_identity(const SafetensorsFile& file, const Metadata& identity, const char* option) {
  for (const auto& [key, value] : identity) {
    const auto found = file.header().metadata.find(key);
    const std::string there = found == file.header().metadata.end() ? "none" : found->second;
    if (there != value)
      throw ConfigError(fmt::format("{}: {} was recorded with {}: {}, this run has {}", option,
                                    file.path(), key, shown_text(there), shown_text(value)));
  }
}

class Folder final : public TraceFolder {
 public:
  Folder(FileOps& files, Communicator& world, const TrainConfig& config, const std::string& data)
      : files_(files),
        world_(world),
        record_(config.train.record_routing),
        replay_(config.train.replay_routing),
        identity_(identity_of(config, data)),
        run_dir_(absolute(config.run.dir).string()),
        layers_(moe_layers(config)),
        tokens_(config.train.sequences_per_step * config.sequence_length()),
        top_k_(config.moe.top_k),
        experts_of_(experts_of_layers(config)) {
    // What lies in the run folder is set aside with it.
    const bool starts = config.run.resume == "never" && !is_within(record_, run_dir_);
    if (!replay_.empty()) before_work(kReplay, [&] { check_replay(config); });
    if (!record_.empty() && starts) before_work(kRecord, [&] { start_recording(0); });
  }

  void start(int64_t step) override {
    if (!record_.empty()) before_work(kRecord, [&] { start_recording(step); });
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
  void before_work(const std::string& option, const std::function<void()>& work) {
    run_on_first(world_, [&] { as_bad_input<ConfigError>(work, option + ": "); });
  }

  void check_replay(const TrainConfig& config) {
    if (!record_.empty() && absolute(record_) == absolute(replay_))
      throw ConfigError(fmt::format("{}: {} is the folder of {}, too; allowed: another one",
                                    kRecord, record_, kReplay));
    if (config.run.resume == "never" && is_within(replay_, run_dir_))
      throw ConfigError(fmt::format(
          "{}: {} lies in the run folder, which run.resume: never sets aside; allowed: another "
          "run.dir",
          kReplay, replay_));
    for (int64_t step = 0; step < config.train.steps; ++step) {
      const std::string path = file_of(replay_, step);
      if (files_.kind(path) != FileOps::Kind::kFile)
        throw ConfigError(fmt::format("{}: {} is missing; a run of train.steps: {} replays as many",
                                      kReplay, path, config.train.steps));
      check_identity(SafetensorsFile(files_, path), identity_, kReplay);
    }
  }

  // Steps of another run are never mixed with this one's, nor removed. Those that this run recorded
  // beyond its checkpoint are no part of its history any more.
  void start_recording(int64_t step) {
    make_folders(files_, record_);
    const std::vector<int64_t> recorded = recorded_steps();
    if (step == 0 && !recorded.empty())
      throw ConfigError(
          fmt::format("{}: {} holds {} recorded steps already; allowed: a folder without any",
                      kRecord, record_, recorded.size()));
    for (const int64_t steps : recorded)
      check_identity(SafetensorsFile(files_, file_of(record_, steps - 1)), own(), kRecord);
    for (const int64_t steps : recorded)
      if (steps > step) files_.remove_file(file_of(record_, steps - 1));
  }

  std::vector<int64_t> recorded_steps() {
    std::vector<int64_t> steps;
    for (const std::string& name : files_.list(record_))
      if (const auto found = steps_of(name)) steps.push_back(*found);
    return steps;
  }

  Metadata own() const {
    Metadata all = identity_;
    all["run.dir"] = run_dir_;
    return all;
  }

  void read_step() {
    const std::string path = file_of(replay_, step_);
    const SafetensorsFile file(files_, path);
    check_identity(file, identity_, kReplay);
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
    make_folders(files_, record_);
    Metadata metadata = own();
    metadata["format"] = "pt";
    replace_safetensors(files_, file_of(record_, step_), tensors, metadata);
  }

  FileOps& files_;
  Communicator& world_;
  std::string record_, replay_;  // "" = not
  Metadata identity_;
  std::string run_dir_;
  std::vector<int64_t> layers_;
  int64_t tokens_, top_k_;
  std::map<int64_t, int64_t> experts_of_;  // by layer
  int64_t step_ = 0;
  std::map<int64_t, at::Tensor> given_, recorded_;  // by layer: [tokens of the step, K]
};

}  // namespace

std::unique_ptr<TraceFolder> open_trace_folder(FileOps& files, Communicator& world,
                                               const TrainConfig& config, const std::string& data) {
  if (config.train.record_routing.empty() && config.train.replay_routing.empty()) return nullptr;
  return std::make_unique<Folder>(files, world, config, data);
}

}  // namespace switchyard
