#include "trainers/config/train_config.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/config/fields.h"
#include "core/config/forms.h"
#include "core/config/layers.h"
#include "core/config/sources.h"
#include "core/moe/options/coefficient_sources.h"
#include "core/moe/options/router_traits.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

/// Defaults that depend on other values.
void fill_defaults(TrainConfig& config, const Origins& origins, const std::string& path) {
  if (!origins.find("run.name")) config.run.name = fs::path(path).stem().string();
  if (!origins.find("run.dir")) config.run.dir = (fs::path("runs") / config.run.name).string();
  if (!origins.find("optim.min_lr"))
    config.optim.min_lr = std::min(config.optim.min_lr, config.optim.lr);
}

/// The values of a coefficient in our convention; ConfigError, beginning with the path of the term,
/// where one is beyond the numbers that a model computes with.
std::map<int64_t, double> converted(const BalanceOptions& term, const CoefficientFactor& factor,
                                    const std::string& path) {
  std::map<int64_t, double> pieces = term.coef.pieces();
  for (auto& [step, coef] : pieces) {
    const double theirs = coef;
    coef *= factor.factor;
    if (!(std::abs(coef) <= kMaxNumber))
      throw ConfigError(
          fmt::format("{}.coef: {} of {} × {} is {} here, beyond ±{}, the largest number of fp32",
                      path, theirs, term.from, factor.formula, coef, kMaxNumber));
  }
  return pieces;
}

/// Coefficients written in another system's convention become ours, with both in the origin.
std::vector<std::string> convert_coefficients(TrainConfig& config, Origins& origins) {
  std::vector<std::string> notes;
  const CoefficientShape shape{std::max<int64_t>(config.num_moe_layers(), 1),
                               config.moe.num_routable(), config.moe.top_k};
  for (size_t i = 0; i < config.moe.balance.size(); ++i) {
    BalanceOptions& term = config.moe.balance[i];
    if (term.from == "switchyard") continue;
    const std::string path = fmt::format("moe.balance.{}", i);
    CoefficientFactor factor;
    std::map<int64_t, double> pieces;
    with_marks(origins, [&] {
      factor = coefficient_factor(term.from, term.type, shape, path);
      if (factor.has_experts && !config.moe.layer_experts.empty())
        throw ConfigError(fmt::format(
            "{}.from: {} depends on the number of experts ({}), which differs between layers "
            "(moe.num_experts); allowed: switchyard, or a system without E in its factor",
            path, term.from, factor.formula));
      pieces = converted(term, factor, path);
    });
    const std::string theirs = fmt::format("{} of {} × {}", print_step_value(term.coef).shown(),
                                           term.from, factor.formula);
    term.coef = StepValue(std::move(pieces));
    term.from = "switchyard";
    const std::string ours = print_step_value(term.coef).shown();
    notes.push_back(fmt::format("{}: {}.coef: {} is {} here", origins.text(path + ".from"), path,
                                theirs, ours));
    const Mark origin{fmt::format("{}, {}", origins.text(path + ".from"), theirs), 0, 0};
    for (const char* key : {".coef", ".from"}) origins.set(path + key, origin);
  }
  return notes;
}

void validate_run(const RunOptions& run) {
  if (run.name.empty() || run.name.find('/') != std::string::npos || run.name[0] == '.')
    throw ConfigError(fmt::format(
        "run.name: `{}` cannot name a folder; allowed: a name without `/` or a leading point",
        run.name));
  if (run.dir.empty()) throw ConfigError("run.dir: is empty; allowed: a folder");
}

void validate_layers(const TrainConfig& config) {
  const LayerPattern& layers = config.moe.layers;
  for (const int64_t layer : layers.list)
    if (layer >= config.model.num_layers)
      throw ConfigError(
          fmt::format("moe.layers: there is no layer {} in model.num_layers: {}, numbered from 0",
                      layer, config.model.num_layers));
  if (layers.kind != LayerPattern::Kind::kNone && config.num_moe_layers() == 0)
    throw ConfigError(fmt::format(
        "moe.layers: the pattern meets none of model.num_layers: {}; write none for a dense model",
        config.model.num_layers));
  const auto listed = static_cast<int64_t>(config.moe.layer_experts.size());
  if (listed > 0 && listed != config.num_moe_layers())
    throw ConfigError(fmt::format(
        "moe.num_experts: the list has {} entries; allowed: one integer, or {}, one for "
        "each MoE layer",
        listed, config.num_moe_layers()));
}

void validate_traces(const TrainConfig& config) {
  const RouterTraits traits = router_traits(config.moe.router, config.moe.top_k);
  const auto refuse = [&](const char* key, const char* why) {
    throw ConfigError(fmt::format("train.{}: cannot serve moe.router.type: {}, {}; allowed: none",
                                  key, config.moe.router.type, why));
  };
  if (!config.train.record_routing.empty() && !traits.fixed_columns)
    refuse("record_routing", "whose tokens have no fixed number of experts");
  if (!config.train.replay_routing.empty() && !traits.ranks_experts)
    refuse("replay_routing", "which gives no weight to experts it did not choose");
}

void validate_sequences(const TrainConfig& config) {
  const TrainOptions& train = config.train;
  if (train.sequences_per_step % train.micro_sequences != 0)
    throw ConfigError(
        fmt::format("train.sequences_per_step: {} is not a multiple of train.micro_sequences: {}",
                    train.sequences_per_step, train.micro_sequences));
  if (config.sequence_length() > config.model.max_seq_len)
    throw ConfigError(fmt::format("train.sequence_length: {} is above model.max_seq_len: {}",
                                  config.sequence_length(), config.model.max_seq_len));
}

std::vector<std::string> unused_settings(const TrainConfig& config, const Origins& origins) {
  std::vector<std::string> notes;
  const auto note = [&](const std::string& path, const std::string& why) {
    if (origins.find(path))
      notes.push_back(fmt::format("{}: {} has no effect: {}", origins.text(path), path, why));
  };
  const int64_t moe_layers = config.num_moe_layers();
  if (moe_layers == config.model.num_layers)
    note("model.ffn_dim", "every layer has experts (moe.layers)");
  if (moe_layers == 0)
    for (const char* key :
         {"moe.num_experts", "moe.top_k", "moe.expert_dim", "moe.shared_experts", "moe.router.type",
          "moe.balance", "moe.bias.type", "moe.capacity.factor", "parallel.expert"})
      note(key, "no layer has experts (moe.layers: none)");
  if (moe_layers == 1 && config.moe.router.gating_residual)
    note("moe.router.gating_residual", "the one MoE layer has none before it");
  const CapacityOptions& capacity = config.moe.capacity;
  if (!capacity.is_set())
    for (const char* key : {"order", "overflow", "scope", "min", "renormalize"})
      note(std::string("moe.capacity.") + key, "no capacity is set (moe.capacity.factor: none)");
  if (moe_layers > 0 &&
      (config.moe.capacity_looks_ahead(true) || config.moe.capacity_looks_ahead(false)))
    notes.push_back(fmt::format(
        "moe.capacity: {} is not causal where the capacity binds: a token's place depends on later "
        "tokens; evaluation also reports token choice",
        capacity.overflow == "next_choice"
            ? "overflow: next_choice"
            : fmt::format("order: {} with moe.top_k: {}", capacity.order, config.moe.top_k)));
  for (size_t i = 0; i < config.moe.balance.size(); ++i)
    if (config.moe.balance[i].has_groups && !config.moe.balance[i].groups)
      notes.push_back(
          fmt::format("{0}: moe.balance.{1}.groups: ranks makes the term depend on the size of the "
                      "expert axis",
                      origins.text(fmt::format("moe.balance.{}.groups", i)), i));
  if (moe_layers > 0 && !router_traits(config.moe.router, config.moe.top_k).causal)
    notes.push_back(fmt::format(
        "moe.router.type: {} assigns many tokens at once, so that later ones matter to earlier "
        "ones; evaluation reports {} beside it",
        config.moe.router.type,
        config.moe.router.type == "expert_choice" ? "token choice"
                                                  : "the whole batch's assignment"));
  if (config.moe.force.active() && !config.train.replay_routing.empty())
    notes.push_back(
        fmt::format("{}: moe.force acts in evaluation alone: training follows train.replay_routing",
                    origins.text("moe.force")));
  if (config.optim.schedule == "constant") note("optim.min_lr", "the schedule is constant");
  return notes;
}

Value identity(TrainConfig config) {
  const auto fields = Fields::bind(config);
  Value all = fields->present();
  std::erase_if(all.map, [](const auto& entry) {
    return entry.first != "model" && entry.first != "moe" && entry.first != "data";
  });
  const auto keep = [&](const Value& value) { all.map.emplace_back(value.path, value); };
  for (const auto& [key, value] : fields->present().map)
    for (const auto& [name, child] : value.map)
      if (child.path == "run.seed" || child.path == "optim.type" ||
          child.path == "train.sequences_per_step" || child.path == "train.precision")
        keep(child);
  Value length = Value::of_integer(config.sequence_length());
  length.path = "train.sequence_length";
  keep(length);
  return all;
}

}  // namespace

int64_t TrainConfig::num_moe_layers() const {
  return moe.layers.count_before(model.num_layers);
}

void describe(Fields& fields, TrainConfig& config) {
  fields.block("run", config.run, "Name, folder and machine of the run.")
      .also_called({"experiment", "job"});
  fields.block("model", config.model, "The decoder.");
  fields.block("moe", config.moe, "The mixture of experts.");
  fields.block("parallel", config.parallel, "How ranks share the work.")
      .also_called({"parallelism", "distributed", "parallel_dims"});
  fields.block("data", config.data, "Where tokens come from.")
      .also_called({"dataset", "datasets", "dataloader"});
  fields.block("optim", config.optim, "The optimizer and its schedule.")
      .also_called({"optimizer", "optimization"});
  fields.block("train", config.train, "The training loop.")
      .also_called({"training", "trainer", "training_args"});
  fields.block("eval", config.eval, "Evaluation during training.")
      .also_called({"evaluation", "validation"});
  fields.block("checkpoint", config.checkpoint, "Checkpoints of the run.")
      .also_called({"checkpointing", "ckpt"});
  fields.block("log", config.log, "What is written while training.")
      .also_called({"logging", "logger", "metrics"});
}

void validate(TrainConfig& config) {
  validate_run(config.run);
  validate(config.model);
  validate(config.moe);
  validate_layers(config);
  validate_traces(config);
  validate(config.data);
  validate(config.optim);
  validate_sequences(config);
}

LoadedConfig load_config(const std::string& path, const std::vector<std::string>& overrides,
                         const std::string& shipped_dir) {
  LoadedConfig loaded;
  TrainConfig& config = loaded.config;
  const auto fields = Fields::bind(config);
  for (const Value& layer : read_config_layers(path, shipped_dir))
    apply_layer(*fields, layer, loaded.origins);
  apply_layer(*fields, parse_overrides(overrides), loaded.origins);
  fill_defaults(config, loaded.origins, path);
  with_marks(loaded.origins, [&] { validate(config); });
  loaded.notes = convert_coefficients(config, loaded.origins);
  for (std::string& note : unused_settings(config, loaded.origins))
    loaded.notes.push_back(std::move(note));
  return loaded;
}

int64_t expert_ranks(const TrainConfig& config, int64_t num_ranks) {
  int64_t divisor = num_ranks;
  for (const int64_t experts : config.moe.layer_sizes()) divisor = std::gcd(divisor, experts);
  return config.parallel.expert.value_or(divisor);
}

void check_ranks(const LoadedConfig& loaded, int64_t num_ranks) {
  const TrainConfig& config = loaded.config;
  with_marks(loaded.origins, [&] {
    if (config.train.micro_sequences < num_ranks)
      throw ConfigError(fmt::format(
          "train.micro_sequences: {} cannot be split over {} ranks; allowed: integer ≥ {}",
          config.train.micro_sequences, num_ranks, num_ranks));
    if (config.num_moe_layers() == 0) return;
    const int64_t expert = expert_ranks(config, num_ranks);
    if (num_ranks % expert != 0)
      throw ConfigError(
          fmt::format("parallel.expert: {} does not divide the {} ranks", expert, num_ranks));
    for (const int64_t experts : config.moe.layer_sizes())
      if (expert > experts)
        throw ConfigError(
            fmt::format("parallel.expert: {} is above moe.num_experts: {}", expert, experts));
  });
}

std::string resolved_yaml(const LoadedConfig& loaded) {
  TrainConfig config = loaded.config;
  return resolved_yaml(*Fields::bind(config), loaded.origins);
}

std::string resume_differences(const TrainConfig& saved, const TrainConfig& now) {
  return diff(identity(saved), identity(now));
}

}  // namespace switchyard
