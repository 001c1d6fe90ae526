#include "core/moe/options.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/config/fields.h"
#include "core/config/nearest.h"
#include "core/moe/options/beside_options.h"
#include "core/moe/options/read_count.h"
#include "core/moe/options/router_traits.h"

namespace switchyard {
namespace {

void check_top_k(const MoEOptions& o) {
  if (o.router.type == "soft") return;  // sends every token to all experts
  if (o.top_k > o.num_experts)
    throw ConfigError(
        fmt::format("moe.top_k: {} is above moe.num_experts: {}", o.top_k, o.num_experts));
  const RouterTraits traits = router_traits(o.router, o.top_k);
  if (traits.top_k && o.top_k != *traits.top_k)
    throw ConfigError(fmt::format(
        "moe.top_k: {} does not fit moe.router.type: {}, which takes {}; allowed: {}", o.top_k,
        o.router.type, *traits.top_k == 1 ? "one expert" : "two experts", *traits.top_k));
  if (o.top_k != 1) return;
  if (traits.normalises) {
    const bool by_key = o.router.type == "top_k";
    throw ConfigError(
        fmt::format("moe.top_k: 1 with normalised weights ({}) gives every expert the constant "
                    "weight 1 and the router no "
                    "gradient; allowed: {}",
                    by_key ? "moe.router.normalize: true" : "moe.router.type: " + o.router.type,
                    by_key ? "normalize: false, or top_k ≥ 2"
                           : "top_k ≥ 2, or a router without normalisation such as switch"));
  }
  // Where columns are not fixed, top_k is a mean: a token may keep several experts.
  if (o.capacity.renormalize && traits.fixed_columns)
    throw ConfigError(
        "moe.capacity.renormalize: true with moe.top_k: 1 gives the kept expert the constant "
        "weight 1 "
        "and the router no gradient; allowed: renormalize: false, or top_k ≥ 2");
}

void check_groups(const MoEOptions& o) {
  const int64_t groups = o.router.groups, kept = o.router.kept_groups;
  if (o.num_experts % groups != 0)
    throw ConfigError(fmt::format("moe.router.groups: {} does not divide moe.num_experts: {}",
                                  groups, o.num_experts));
  const std::string& type = o.router.type;
  if (groups > 1 && type != "top_k" && type != "deepseek_v2" && type != "deepseek_v3")
    throw ConfigError(fmt::format(
        "moe.router.groups: {} does not apply to moe.router.type: {}; allowed: 1, or a router of "
        "top_k, deepseek_v2, deepseek_v3",
        groups, type));
  if (kept > groups)
    throw ConfigError(
        fmt::format("moe.router.kept_groups: {} is above moe.router.groups: {}", kept, groups));
  const int64_t reachable = kept * (o.num_experts / groups);
  if (o.top_k > reachable && type != "soft")
    throw ConfigError(
        fmt::format("moe.top_k: {} is above the {} experts in moe.router.kept_groups: {} of "
                    "moe.router.groups: {}",
                    o.top_k, reachable, kept, groups));
}

void check_hierarchy(const MoEOptions& o) {
  const std::vector<int64_t>&branches = o.router.branches, &kept = o.router.kept;
  if (o.router.type != "hierarchical") return;
  if (branches.empty() || kept.empty())
    throw ConfigError(
        fmt::format("moe.router.{}: is needed by moe.router.type: hierarchical; allowed: list of 2 "
                    "integers ≥ 1",
                    branches.empty() ? "branches" : "kept"));
  if (branches[0] * branches[1] != o.num_experts)
    throw ConfigError(
        fmt::format("moe.router.branches: [{}, {}] does not make moe.num_experts: {} experts",
                    branches[0], branches[1], o.num_experts));
  for (size_t i = 0; i < 2; ++i)
    if (kept[i] > branches[i])
      throw ConfigError(
          fmt::format("moe.router.kept: [{}, {}] is above moe.router.branches: "
                      "[{}, {}]",
                      kept[0], kept[1], branches[0], branches[1]));
  if (kept[0] * kept[1] != o.top_k)
    throw ConfigError(fmt::format("moe.router.kept: [{}, {}] does not make moe.top_k: {} experts",
                                  kept[0], kept[1], o.top_k));
}

// What the router cannot do, by the key that asks for it.
void check_traits(const MoEOptions& o) {
  const RouterTraits traits = router_traits(o.router, o.top_k);
  if (o.bias.type != "none" && !traits.takes_bias)
    throw ConfigError(fmt::format(
        "moe.bias.type: {} does not apply to moe.router.type: {}; allowed: none, or a router of {}",
        o.bias.type, o.router.type, routers_with(&RouterTraits::takes_bias, o.top_k)));
  if (!traits.takes_capacity && o.capacity.is_set())
    throw ConfigError(fmt::format(
        "moe.capacity.{}: {} does not apply to moe.router.type: {}, which says itself how many "
        "tokens an expert takes; allowed: none",
        o.capacity.factor ? "factor" : "eval_factor",
        o.capacity.factor ? *o.capacity.factor : *o.capacity.eval_factor, o.router.type));
}

void check_quantile(const MoEOptions& o) {
  if (o.bias.type != "quantile") return;
  if (o.top_k == o.num_experts)
    throw ConfigError(fmt::format(
        "moe.bias.type: quantile needs an expert that is not chosen; allowed: moe.top_k below "
        "moe.num_experts: {}, or another rule",
        o.num_experts));
  if (o.router.groups > 1)
    throw ConfigError(fmt::format(
        "moe.bias.type: quantile does not know groups; allowed: moe.router.groups: 1, not {}, or "
        "another rule",
        o.router.groups));
}

void check_capacity(const MoEOptions& o) {
  const RouterTraits traits = router_traits(o.router, o.top_k);
  const CapacityOptions& capacity = o.capacity;
  if (capacity.overflow == "next_choice" && !traits.ranks_experts)
    throw ConfigError(fmt::format(
        "moe.capacity.overflow: next_choice does not fit moe.router.type: {}, which ranks no "
        "other experts; allowed: drop, or one of {}",
        o.router.type, routers_with(&RouterTraits::ranks_experts, o.top_k)));
  if (!capacity.dynamic) return;
  if (!capacity.factor)
    throw ConfigError(
        "moe.capacity.dynamic: starts at moe.capacity.factor, which is none; "
        "allowed: a factor > 0");
  if (*capacity.factor < capacity.dynamic->min || *capacity.factor > capacity.dynamic->max)
    throw ConfigError(fmt::format(
        "moe.capacity.factor: {} is outside moe.capacity.dynamic, which starts there; allowed: {} "
        "to {}",
        *capacity.factor, capacity.dynamic->min, capacity.dynamic->max));
}

const std::string kExpertForms = fmt::format(
    "integer ≥ 1 and ≤ {0} | [integer ≥ 1 and ≤ {0}, ...], one for each MoE layer", kMaxExperts);

void read_num_experts(const Value& value, MoEOptions& options) {
  options.layer_experts.clear();
  if (!value.is_list()) {
    options.num_experts = read_count(value, 1, kMaxExperts);
    return;
  }
  if (value.items.empty()) value.fail(fmt::format("the list is empty; allowed: {}", kExpertForms));
  for (const Value& item : value.items)
    options.layer_experts.push_back(read_count(item, 1, kMaxExperts));
  options.num_experts = options.layer_experts.front();
}

Value print_num_experts(const MoEOptions& options) {
  if (options.layer_experts.empty()) return Value::of_integer(options.num_experts);
  std::vector<Value> items;
  for (const int64_t experts : options.layer_experts) items.push_back(Value::of_integer(experts));
  return Value::list(std::move(items));
}

void describe_num_experts(Fields& fields, MoEOptions& options) {
  const std::string count =
      fmt::format(R"({{"type": "integer", "minimum": 1, "maximum": {}}})", kMaxExperts);
  fields
      .custom(
          "num_experts", kExpertForms,
          [&options](const Value& value) { read_num_experts(value, options); },
          [&options] { return print_num_experts(options); },
          "Routed experts of each MoE layer; shared, zero, copy and constant ones are not counted.")
      .also_called({"num_local_experts", "n_routed_experts", "moe_num_experts", "n_experts",
                    "n_expert", "num_moe_experts"})
      .with_schema(fmt::format(
          R"({{"anyOf": [{0}, {{"type": "array", "items": {0}, "minItems": 1}}]}})", count));
}

}  // namespace

int64_t MoEOptions::experts_per_token() const {
  const std::vector<int64_t> sizes = layer_sizes();
  return router.type == "soft" ? *std::max_element(sizes.begin(), sizes.end()) : top_k;
}

bool MoEOptions::capacity_looks_ahead(bool training) const {
  if (!capacity.factor_in(training)) return false;
  const bool one_choice = top_k == 1 && router_traits(router, top_k).fixed_columns;
  const bool by_position =
      capacity.order == "position" || (capacity.order == "random" && !training);
  return !by_position || capacity.overflow == "next_choice" || !one_choice;
}

MoEOptions MoEOptions::for_router() const {
  MoEOptions seen = *this;
  seen.num_experts = num_routable();
  if (num_routable() > num_experts)
    seen.light = {num_routable() - num_experts, zero_compute_weight};
  seen.zero_experts = seen.copy_experts = seen.constant_experts = 0;
  return seen;
}

MoEOptions MoEOptions::of_layer(int64_t moe_layer) const {
  MoEOptions layer = *this;
  if (!layer_experts.empty()) layer.num_experts = layer_experts.at(static_cast<size_t>(moe_layer));
  layer.layer_experts.clear();
  return layer;
}

std::vector<int64_t> MoEOptions::layer_sizes() const {
  return layer_experts.empty() ? std::vector<int64_t>{num_experts} : layer_experts;
}

int64_t MoEOptions::shared_width() const {
  if (shared_experts == 0 && !residual) return 0;
  return shared_dim.value_or(expert_dim * (residual ? 1 : shared_experts));
}

void describe(Fields& fields, MoEOptions& options) {
  fields
      .custom(
          "layers", kLayerForms,
          [&options](const Value& value) { read_layers(value, options.layers); },
          [&options] { return print_layers(options.layers); },
          "Which decoder layers are MoE layers, numbered from 0; none = a dense model.")
      .also_called({"decoder_sparse_step", "moe_layer_freq", "first_k_dense_replace",
                    "mlp_only_layers", "n_dense_layers", "interleave_moe_layer_step"})
      .with_schema(R"({"anyOf": [{"enum": ["all", "none"]},
          {"type": "array", "items": {"type": "integer", "minimum": 0}, "minItems": 1},
          {"type": "object", "properties": {"every": {"type": "integer", "minimum": 1},
           "offset": {"type": "integer", "minimum": 0}}, "required": ["every"], "additionalProperties": false},
          {"type": "object", "properties": {"first_dense": {"type": "integer", "minimum": 0}},
           "required": ["first_dense"], "additionalProperties": false}]})");
  describe_num_experts(fields, options);
  fields.integer("top_k", options.top_k, "Routed experts that each token goes to.")
      .at_least(1)
      .at_most(kMaxExperts)
      .also_called({"num_experts_per_tok", "num_experts_per_token", "moe_router_topk",
                    "n_activated_experts", "moe_top_k", "n_expert_used", "num_selected_experts",
                    "experts_per_token"});
  fields.integer("expert_dim", options.expert_dim, "Width of each routed expert.")
      .at_least(1)
      .at_most(kMaxWidth)
      .also_called({"moe_intermediate_size", "moe_ffn_hidden_size", "expert_ffn_hidden_size",
                    "moe_inter_dim", "moe_hidden_dim", "expert_hidden_size"});
  describe_beside(fields, options);
  fields
      .integer_or("latent_dim", options.latent_dim, "none",
                  "Width that tokens are projected to before they travel to routed experts, which "
                  "work in it (LatentMoE); none = the model's.")
      .at_least(1)
      .at_most(kMaxWidth)
      .also_called({"moe_latent_size", "latent_size"});
  fields.block("router", options.router, "Scores, selection and combine weights.")
      .also_called({"gating", "routing"});
  fields.blocks("balance", options.balance, "Balance terms of the loss; [] for none.")
      .also_called({"aux_loss", "router_aux_loss_coef", "moe_aux_loss_coeff", "router_z_loss_coef",
                    "moe_z_loss_coeff", "load_balancing_loss", "moe_router_load_balancing_type",
                    "aux_losses"});
  fields.block("bias", options.bias, "Balancing by selection biases, without a loss.")
      .also_called(
          {"expert_bias", "moe_router_enable_expert_bias", "loss_free", "e_score_correction_bias"});
  fields.block("capacity", options.capacity, "How many tokens an expert accepts.");
  fields
      .custom(
          "force", kForceForms,
          [&options](const Value& value) { options.force = read_force(value); },
          [&options] { return print_force(options.force); },
          "Assign tokens by this law instead of the router's choice, for load tests.")
      .also_called({"moe_router_force_load_balancing", "force_load_balance", "fake_balanced_gate"})
      .with_schema(kForceSchema);
}

void validate(const MoEOptions& options) {
  if (!options.layer_experts.empty()) {
    for (size_t layer = 0; layer < options.layer_experts.size(); ++layer)
      validate(options.of_layer(static_cast<int64_t>(layer)));
    return;
  }
  if (options.zero_compute_weight != 1 &&
      options.num_routable() + options.light.count == options.num_experts)
    throw ConfigError(fmt::format(
        "moe.zero_compute_weight: {} without zero, copy or constant experts; allowed: 1, or one of "
        "moe.zero_experts, copy_experts, constant_experts ≥ 1",
        options.zero_compute_weight));
  if (options.num_routable() > options.num_experts) {
    check_zero_compute(options);
    validate(options.for_router());
    return;
  }
  check_top_k(options);
  if (options.force.active() && !router_traits(options.router, options.top_k).ranks_experts)
    throw ConfigError(fmt::format(
        "moe.force: {} cannot replace the choice of moe.router.type: {}, which gives no weight to "
        "other experts; allowed: none, or a top-k router",
        options.force.law, options.router.type));
  check_groups(options);
  check_hierarchy(options);
  check_traits(options);
  check_balance(options.balance, options.router, options.num_experts, options.top_k);
  check_beside(options);
  check_quantile(options);
  check_capacity(options);
}

}  // namespace switchyard
