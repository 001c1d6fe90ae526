#include "trainers/route/route_job.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "core/base/error.h"
#include "core/base/partition.h"
#include "core/checkpoint/safetensors.h"
#include "core/config/sources.h"
#include "core/metrics/evaluation_metrics.h"
#include "core/metrics/json_writer.h"
#include "core/metrics/routing_metrics.h"
#include "core/moe/routers/router.h"
#include "parallel/comm/thread_communicator.h"
#include "trainers/config/train_config.h"
#include "trainers/route/rank_share.h"
#include "trainers/route/scores_file.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

// The vocabulary that a model of this config would have.
int64_t vocab_size_of(const TrainConfig& config) {
  const DataOptions& data = config.data;
  if (config.model.vocab_size) return *config.model.vocab_size;
  if (data.type == "text") return 256;
  if (data.type == "tokens")
    throw ConfigError(
        "model.vocab_size: auto with data.type: tokens is known from the token files alone; "
        "allowed here: a number");
  return data.content_tokens + (data.variant == "latent" ? 0 : data.num_domains);
}

// The file to write: behind a link, what it points to, so that the link stays one. A device or pipe
// would be replaced by a file of its name.
std::string target_of(const std::string& out) {
  std::error_code ignored;
  const fs::file_status there = fs::status(out, ignored);
  const bool is_link = fs::is_symlink(fs::symlink_status(out, ignored));
  const auto refuse = [&](const char* what) {
    throw ConfigError(fmt::format("--out: {} is {}; allowed: a file", out, what));
  };
  if (fs::is_directory(there)) refuse("a folder");
  if (is_link && !fs::exists(there)) refuse("a link to nothing");
  if (fs::exists(there) && !fs::is_regular_file(there)) refuse("a device, pipe or socket");
  return is_link ? fs::canonical(out).string() : out;
}

// Returns the file to write.
std::string check_out(const RouteJob& job) {
  const fs::path out(job.out), folder = out.parent_path();
  std::error_code ignored;
  if (out.empty()) throw ConfigError("--out: is empty; allowed: the name of a file");
  const std::string target = target_of(job.out);
  if (!folder.empty() && !fs::is_directory(folder, ignored))
    throw ConfigError(fmt::format("--out: there is no folder {}", folder.string()));
  const auto check_other = [&](const std::string& input, const char* meaning) {
    if (fs::equivalent(out, input, ignored))
      throw ConfigError(
          fmt::format("--out: {} is {} file; allowed: another file", job.out, meaning));
  };
  check_other(job.scores, "the scores");
  for (const Value& layer : read_config_layers(job.config, job.shipped_dir))
    check_other(layer.mark.source, "a config");
  return target;
}

void check_experts(const MoEOptions& moe) {
  if (!moe.layer_experts.empty())
    throw ConfigError(
        "moe.num_experts: a list has no meaning here, where there is one layer; allowed: integer ≥ "
        "1");
  if (moe.num_routable() > moe.num_experts)
    throw ConfigError(
        "moe.zero_experts, copy_experts, constant_experts: recorded logits are routed to "
        "feed-forward experts alone; allowed: 0");
}

void check_terms(const MoEOptions& moe) {
  for (size_t i = 0; i < moe.balance.size(); ++i) {
    const BalanceOptions& term = moe.balance[i];
    if (term.type == "orthogonal")
      throw ConfigError(
          fmt::format("moe.balance.{}.type: orthogonal is of the router's weight, which recorded "
                      "logits do not have; allowed here: the terms of decisions",
                      i));
    if (term.has_groups && !term.groups)
      throw ConfigError(fmt::format(
          "moe.balance.{}.groups: ranks has no meaning here, where no rank holds experts; allowed: "
          "a number",
          i));
  }
}

// The metrics of a step, and those of an evaluation that need no model.
LayerMetrics metrics_of(const RouteShare& whole, const MoEOptions& moe, const Scores& scores,
                        int64_t sequence_length) {
  RoutingSums sums({.experts = {moe.num_experts}}, at::kCPU);
  sums.accumulate(0, 0, whole.decision, {.domain_T = {}, .sequence_length = sequence_length});
  EvaluationSums::Shape shape{.experts = {moe.num_experts}, .top_k = moe.top_k};
  at::Tensor token_T;
  if (scores.tokens_T.defined()) {
    const auto [ids_V, index_T] = at::_unique(scores.tokens_T, true, /*return_inverse=*/true);
    shape.vocab_size = ids_V.size(0);
    token_T = index_T;
  }
  EvaluationSums details(shape, at::kCPU);
  details.accumulate(0, whole.decision, {}, token_T);
  LayerMetrics metrics = step_metrics(sums.layers(), moe.experts_per_token());
  const LayerMetrics more =
      evaluation_metrics(sums.layers(), details.layers(), moe.experts_per_token());
  for (const char* name :
       {"dead_experts", "token_mi", "co_activation", "co_activation_max", "top_k_gap"})
    metrics[name] = more.at(name);
  metrics.erase("computed");  // there are no experts
  return metrics;
}

std::string metrics_json(const RouteShare& whole, const MoEOptions& moe, const Scores& scores,
                         int64_t sequence_length) {
  JsonObject json;
  for (const auto& [name, values] : metrics_of(whole, moe, scores, sequence_length))
    json.add(name, values.front());
  if (whole.new_bias_E.defined()) {
    const at::Tensor bias_E = whole.new_bias_E.to(at::kDouble);
    json.add("bias_range", (bias_E.max() - bias_E.min()).item<double>());
  }
  const at::Tensor load_E = whole.decision.counts_E.to(at::kDouble);
  json.add("load", std::vector<double>(load_E.const_data_ptr<double>(),
                                       load_E.const_data_ptr<double>() + load_E.numel()));
  return json.text();
}

StateList tensors_of(const RouteShare& whole, const Scores& scores) {
  const at::Tensor& logits_TE = scores.logits_TE;
  StateList tensors = {
      {"expert_ids", whole.decision.expert_ids_TK},
      {"weights", whole.decision.weights_TK.to(logits_TE.dtype())},
      {"kept", whole.decision.kept_TK.to(at::kByte)},
      {"slot", whole.decision.slot_TK},
      {"counts", whole.decision.counts_E},
      {"new_bias", whole.new_bias_E.defined()
                       ? whole.new_bias_E
                       : at::zeros({whole.decision.counts_E.size(0)}, logits_TE.options())}};
  for (size_t i = 0; i < whole.terms.size(); ++i) {
    tensors.push_back({fmt::format("term.{}", i), whole.terms[i].value});
    tensors.push_back({fmt::format("term_grad.{}", i), whole.terms[i].gradient_TE});
  }
  return tensors;
}

}  // namespace

RouteReport run_route(const RouteJob& job) {
  const LoadedConfig loaded = load_config(job.config, job.overrides, job.shipped_dir);
  const TrainConfig& config = loaded.config;
  const std::string out = check_out(job);
  check_experts(config.moe);
  check_terms(config.moe);
  SystemFileOps files;
  const Scores scores = read_scores(files, job.scores);
  const RoutePlan plan(
      config.moe, scores,
      {.training = job.training,
       .seed = job.seed.value_or(static_cast<uint64_t>(config.run.seed)),
       .step = job.step,
       .layer = job.layer,
       .sequence_length = job.sequence_length.value_or(scores.num_tokens()),
       .vocab_size = config.moe.router.type == "hash" ? vocab_size_of(config) : 0});
  RouteShare whole;
  run_ranks(job.num_ranks, [&](Communicator& comm) {
    RouteShare gathered = gather(route_share(plan, comm), comm);
    if (comm.rank() == 0) whole = std::move(gathered);
  });
  RouteReport report{metrics_json(whole, config.moe, scores, plan.settings().sequence_length),
                     loaded.notes};
  replace_safetensors(files, out, tensors_of(whole, scores));
  return report;
}

}  // namespace switchyard
