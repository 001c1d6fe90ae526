#include "core/moe/options/router_options.h"

#include <fmt/format.h>

#include "core/base/limits.h"
#include "core/config/fields.h"
#include "core/config/nearest.h"
#include "core/moe/options/read_count.h"

namespace switchyard {
namespace {

constexpr int64_t kMaxRounds = 1'000;

const char* const kPoolForms = "micro_batch | sequence | {tokens: n}";

void read_pool(const Value& value, RouterOptions& options) {
  if (value.is_map()) {
    for (const auto& [key, child] : value.map)
      if (key != "tokens") child.fail_key("unknown key" + suggestion(key, {"tokens"}));
    if (value.map.empty()) value.fail(fmt::format("{{}} is not a pool; allowed: {}", kPoolForms));
    options.pool_tokens = read_count(value.map[0].second, 1);
    options.pool = "tokens";
    return;
  }
  const std::vector<std::string> words = {"micro_batch", "sequence"};
  if (!value.is_scalar() || (value.scalar != words[0] && value.scalar != words[1]))
    value.fail(value.shown() + " is not a pool" +
               suggestion(value.is_scalar() ? value.scalar : "", words) + ", {tokens: n}");
  options.pool = value.scalar;
  options.pool_tokens = 0;
}

Value print_pool(const RouterOptions& options) {
  if (options.pool != "tokens") return Value::of_word(options.pool);
  return Value::of_map({{"tokens", Value::of_integer(options.pool_tokens)}});
}

// Routers with a weight of their own.
const std::vector<std::string> kLearned = {
    "switch",       "gshard",      "noisy_top_k", "mixtral",       "top_k",
    "deepseek_moe", "deepseek_v2", "deepseek_v3", "expert_choice", "base",
    "sinkhorn",     "relu",        "gumbel",      "soft",          "hierarchical"};

// Their product is a number of experts, and fits into 64 bits.
const std::string kPairForm = fmt::format("list of 2 integers ≥ 1 and ≤ {}", kMaxExperts);

void read_pair(const Value& value, std::vector<int64_t>& target) {
  if (!value.is_list() || value.items.size() != 2)
    value.fail(fmt::format("{} is not a {}", value.shown(), kPairForm));
  target = {read_count(value.items[0], 1, kMaxExperts), read_count(value.items[1], 1, kMaxExperts)};
}

Value print_pair(const std::vector<int64_t>& pair) {
  std::vector<Value> items;
  for (const int64_t number : pair) items.push_back(Value::of_integer(number));
  return Value::list(std::move(items));
}

void describe_pair(Fields& fields, const std::string& key, std::vector<int64_t>& target,
                   const std::string& help) {
  fields
      .custom(
          key, kPairForm, [&target](const Value& value) { read_pair(value, target); },
          [&target] { return print_pair(target); }, help)
      .only_for({"hierarchical"})
      .with_schema(fmt::format(
          R"({{"type": "array", "items": {{"type": "integer", "minimum": 1, "maximum": {}}}, "minItems": 2, "maxItems": 2}})",
          kMaxExperts));
}

// Keys of all learned routers, and of those that are no plain top-k.
void describe_others(Fields& fields, RouterOptions& options) {
  fields
      .number("jitter", options.jitter,
              "ε of the noise U[1-ε, 1+ε] on the router's input in training.")
      .at_least(0)
      .less_than(1)
      .only_for(kLearned)
      .also_called({"router_jitter_noise", "jitter_eps", "moe_input_jitter_eps", "moe_jitter_eps",
                    "input_jitter_noise"});
  fields
      .number_or("init", options.init, "auto",
                 "Standard deviation of the router's first weights; auto = model.init_std, 0 for "
                 "noisy_top_k.")
      .at_least(0)
      .only_for(kLearned);
  fields
      .flag("gating_residual", options.gating_residual,
            "Add a learned map of the router logits of the MoE layer before (MoE++).")
      .only_for(kLearned)
      .also_called({"gate_residual", "gating_residuals"});
  fields.number("temperature", options.temperature, "Divides the logits, and the noise of gumbel.")
      .more_than(0)
      .only_for({"sinkhorn", "gumbel"})
      .also_called({"tau"});
  fields.integer("rounds", options.rounds, "Rounds of scaling rows and columns.")
      .at_least(1)
      .at_most(kMaxRounds)
      .only_for({"sinkhorn"});
  fields
      .custom(
          "pool", kPoolForms, [&options](const Value& value) { read_pool(value, options); },
          [&options] { return print_pool(options); }, "Tokens that an expert chooses from.")
      .only_for({"expert_choice"})
      .with_schema(
          R"({"anyOf": [{"enum": ["micro_batch", "sequence"]}, {"type": "object", "properties":
          {"tokens": {"type": "integer", "minimum": 1}}, "required": ["tokens"], "additionalProperties": false}]})");
  fields
      .choice("table", options.table, {"random", "balanced", "bigram"},
              "Experts by token id: hashed, by training frequency, or hashed with the id before.")
      .only_for({"hash"});
  fields.number("l1", options.l1, "First coefficient of the L1 term of the scores.")
      .at_least(0)
      .only_for({"relu"});
  fields
      .number("l1_rate", options.l1_rate,
              "Factor by which that coefficient moves after each step, towards top_k experts.")
      .at_least(1)
      .only_for({"relu"});
  describe_pair(fields, "branches", options.branches, "Groups, and experts in each group.");
  describe_pair(fields, "kept", options.kept, "Groups that a token goes to, and experts in each.");
}

}  // namespace

void describe(Fields& fields, RouterOptions& options) {
  fields
      .choice("type", options.type,
              {"switch", "gshard", "noisy_top_k", "mixtral", "top_k", "deepseek_moe", "deepseek_v2",
               "deepseek_v3", "expert_choice", "hash", "base", "sinkhorn", "relu", "gumbel", "soft",
               "hierarchical"},
              "How tokens are scored, selected and weighted.")
      .also_called({"router_type", "gate", "gate_type", "moe_router"})
      .also_spelled({{"topk_softmax", "top_k"},
                     {"olmoe", "top_k"},
                     {"qwen3_moe", "top_k"},
                     {"noaux_tc", "deepseek_v3"},
                     {"group_limited_greedy", "deepseek_v2"},
                     {"noisy_topk", "noisy_top_k"},
                     {"noisy_gate", "noisy_top_k"},
                     {"remoe", "relu"},
                     {"dense", "soft"},
                     {"expert_choice_routing", "expert_choice"},
                     {"hash_layers", "hash"},
                     {"base_layer", "base"},
                     {"s_base", "sinkhorn"},
                     {"deepseek", "deepseek_moe"},
                     {"top1", "switch"},
                     {"top2", "gshard"},
                     {"switch_transformer", "switch"}});
  fields
      .choice("score", options.score, {"softmax", "sigmoid", "sqrtsoftplus"},
              "Function that turns logits into scores.")
      .only_for({"top_k"})
      .also_called({"score_func", "scoring_func", "moe_router_score_function", "gate_activation"});
  fields
      .flag_or("normalize", options.normalize, "auto",
               "Divide the K weights by their sum; auto = only for K > 1.")
      .only_for({"top_k"})
      .also_called({"norm_topk_prob", "route_norm", "normalize_expert_weights"});
  fields.number("scale", options.scale, "Factor on the combine weights.")
      .more_than(0)
      .only_for({"top_k", "deepseek_moe", "deepseek_v2", "deepseek_v3"})
      .also_called({"routed_scaling_factor", "route_scale", "moe_router_topk_scaling_factor"});
  fields
      .integer("groups", options.groups,
               "Equal groups that the experts are split into; 1 = no groups.")
      .at_least(1)
      .only_for({"top_k", "deepseek_v2", "deepseek_v3"})
      .also_called({"n_group", "n_expert_groups", "num_expert_groups", "moe_router_num_groups"});
  fields.integer("kept_groups", options.kept_groups, "Groups that a token may choose from.")
      .at_least(1)
      .only_for({"top_k", "deepseek_v2", "deepseek_v3"})
      .also_called(
          {"topk_group", "n_limited_groups", "num_limited_groups", "moe_router_group_topk"});
  describe_others(fields, options);
}

}  // namespace switchyard
