#include "trainers/step/trace_folder.h"

#include <ATen/ATen.h>
#include <fmt/ranges.h>

#include <algorithm>
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
#include "core/checkpoint/tensor_bytes.h"
#include "parallel/checkpoint/together.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;
using Metadata = std::map<std::string, std::string>;

constexpr const char* kRecord = "train.record_routing";
constexpr const char* kReplay = "train.replay_routing";
constexpr const char* kStep = "step";  // of a file's metadata: that of its name
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

/// "none" where the file does not say.
std::string said_by(const SafetensorsFile& file, const std::string& key) {
  const auto found = file.header().metadata.find(key);
  return found == file.header().metadata.end() ? "none" : found->second;
}

/// Refuses a file that holds another identity, or another step than the one after `step` steps;
/// `option` is what names its folder.
void check_identity(const SafetensorsFile& file, int64_t step, const Metadata& identity,
                    const char* option) {
  for (const auto& [key, value] : identity) {
    const std::string there = said_by(file, key);
    if (there != value)
      throw ConfigError(fmt::format("{}: {} was recorded with {}: {}, this run has {}", option,
                                    file.path(), key, shown_text(there), shown_text(value)));
  }
  const std::string there = said_by(file, kStep);
  if (there != std::to_string(step + 1))
    throw ConfigError(fmt::format("{}: {} holds step {}; allowed: {}", option, file.path(),
                                  shown_text(there), step + 1));
}

[[noreturn]] void refuse_tensor(const SafetensorsFile& file, const std::string& name,
                                const std::string& problem) {
  throw ConfigError(fmt::format("{}: {}: tensor `{}` {}", kReplay, file.path(), name, problem));
}

/// What is wrong with one row of K ids, the `row`th; "" where nothing is.
std::string problem_of(const int32_t* ids, int64_t row, int64_t K, int64_t experts) {
  for (int64_t k = 0; k < K; ++k) {
    if (ids[k] < -1 || ids[k] >= experts)
      return fmt::format("holds {} at [{}, {}]; allowed: -1 (none) to {}", ids[k], row, k,
                         experts - 1);
    const int64_t first = std::find(ids, ids + k, ids[k]) - ids;
    if (ids[k] >= 0 && first < k)
      return fmt::format("holds {} at [{}, {}] and [{}, {}]; allowed: an expert once in a row",
                         ids[k], row, first, row, k);
  }
  return "";
}

/// The decisions of a layer, [tokens, K] of `shape`, that a run can follow.
at::Tensor read_ids(const SafetensorsFile& file, int64_t layer, const std::vector<int64_t>& shape,
                    int64_t experts) {
  const std::string name = tensor_name(layer);
  const TensorEntry* entry = file.header().find(name);
  if (entry == nullptr || entry->dtype != at::kInt || entry->shape != shape)
    refuse_tensor(file, name,
                  fmt::format("is {}; allowed: {}",
                              entry ? describe_tensor(entry->dtype, entry->shape) : "missing",
                              describe_tensor(at::kInt, shape)));
  at::Tensor ids_TK = file.read(name);
  const auto* ids = ids_TK.const_data_ptr<int32_t>();
  for (int64_t row = 0; row < shape[0]; ++row) {
    const std::string problem = problem_of(ids + row * shape[1], row, shape[1], experts);
    if (!problem.empty()) refuse_tensor(file, name, problem);
  }
  return ids_TK;
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
        experts_of_(experts_of_layers(config)),
        steps_(config.train.steps),
        never_resumes_(config.run.resume == "never") {}

  void open() {
    check_replay();
    if (never_resumes_ && !record_.empty() && !goes_aside(record_))
      before_work(kRecord, [&] { start_recording(0); });
  }

  void check(int64_t step) {
    check_replay();
    if (step < steps_ && !record_.empty() && !goes_aside(record_))
      before_work(kRecord, [&] { check_recording(step); });
  }

  void start(int64_t step) override {
    if (!record_.empty()) before_work(kRecord, [&] { start_recording(step); });
  }

  void begin_step(int64_t step) override {
    step_ = step;
    if (!replay_.empty()) run_together(world_, [&] { given_ = read_decisions(step_); });
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

  // With the run folder, before the run starts.
  bool goes_aside(const std::string& path) const {
    return never_resumes_ && is_within(path, run_dir_);
  }

  void check_replay() {
    if (!replay_.empty()) before_work(kReplay, [&] { check_replayed_files(); });
  }

  void check_replayed_files() {
    if (!record_.empty() && absolute(record_) == absolute(replay_))
      throw ConfigError(fmt::format("{}: {} is the folder of {}, too; allowed: another one",
                                    kRecord, record_, kReplay));
    if (goes_aside(replay_))
      throw ConfigError(fmt::format(
          "{}: {} lies in the run folder, which run.resume: never sets aside; allowed: another "
          "run.dir",
          kReplay, replay_));
    for (int64_t step = 0; step < steps_; ++step) {
      const std::string path = file_of(replay_, step);
      if (files_.kind(path) != FileOps::Kind::kFile)
        throw ConfigError(fmt::format("{}: {} is missing; a run of train.steps: {} replays as many",
                                      kReplay, path, steps_));
      read_decisions(step);
    }
  }

  std::map<int64_t, at::Tensor> read_decisions(int64_t step) {
    const SafetensorsFile file(files_, file_of(replay_, step));
    check_identity(file, step, identity_, kReplay);
    std::map<int64_t, at::Tensor> decisions;
    for (const auto& [layer, experts] : experts_of_)
      decisions[layer] = read_ids(file, layer, {tokens_, top_k_}, experts);
    return decisions;
  }

  // Steps of another run are never mixed with this one's, nor removed.
  std::vector<int64_t> check_recording(int64_t step) {
    std::vector<int64_t> recorded = recorded_steps();
    if (step == 0 && !recorded.empty())
      throw ConfigError(
          fmt::format("{}: {} holds {} recorded steps already; allowed: a folder without any",
                      kRecord, record_, recorded.size()));
    for (const int64_t steps : recorded)
      check_identity(SafetensorsFile(files_, file_of(record_, steps - 1)), steps - 1, own(),
                     kRecord);
    return recorded;
  }

  // What this run recorded beyond its checkpoint is no part of its history any more.
  void start_recording(int64_t step) {
    make_folders(files_, record_);
    for (const int64_t steps : check_recording(step))
      if (steps > step) files_.remove_file(file_of(record_, steps - 1));
  }

  std::vector<int64_t> recorded_steps() {
    std::vector<int64_t> steps;
    if (files_.kind(record_) == FileOps::Kind::kMissing) return steps;
    for (const std::string& name : files_.list(record_))
      if (const auto found = steps_of(name)) steps.push_back(*found);
    return steps;
  }

  Metadata own() const {
    Metadata all = identity_;
    all["run.dir"] = run_dir_;
    return all;
  }

  void write_step(const StateList& tensors) {
    make_folders(files_, record_);
    Metadata metadata = own();
    metadata["format"] = "pt";
    metadata[kStep] = std::to_string(step_ + 1);
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
  int64_t steps_;                          // of the whole run
  bool never_resumes_;
  int64_t step_ = 0;
  std::map<int64_t, at::Tensor> given_, recorded_;  // by layer: [tokens of the step, K]
};

}  // namespace

std::unique_ptr<TraceFolder> open_trace_folder(FileOps& files, Communicator& world,
                                               const TrainConfig& config, const std::string& data) {
  if (config.train.record_routing.empty() && config.train.replay_routing.empty()) return nullptr;
  auto folder = std::make_unique<Folder>(files, world, config, data);
  folder->open();
  return folder;
}

void check_trace_folder(FileOps& files, Communicator& world, const TrainConfig& config,
                        const std::string& data, int64_t step) {
  Folder(files, world, config, data).check(step);
}

}  // namespace switchyard
