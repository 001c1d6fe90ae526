#include "core/moe/options.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/config/fields.h"
#include "core/config/nearest.h"

namespace switchyard {
namespace {

const char* const kLayerForms =
    "all | none | {every: n, offset: m} | {first_dense: n} | [layer, ...]";
const char* const kScopeForms = "step | micro_batch | sequence | {sequences: n}";

/// The integer below `key` of a custom map, at least `lowest`.
int64_t read_count(const Value& value, int64_t lowest) {
  const int64_t count = value.as_integer();
  if (count < lowest)
    value.fail(fmt::format("{} is out of range; allowed: integer ≥ {}", value.shown(), lowest));
  return count;
}

LayerPattern read_layer_map(const Value& value) {
  LayerPattern pattern;
  const Value* every = value.find("every");
  const Value* offset = value.find("offset");
  const Value* first_dense = value.find("first_dense");
  for (const auto& [key, child] : value.map)
    if (key != "every" && key != "offset" && key != "first_dense")
      child.fail_key("unknown key" + suggestion(key, {"every", "offset", "first_dense"}));
  if (first_dense && value.map.size() == 1) {
    pattern.kind = LayerPattern::Kind::kFirstDense;
    pattern.first_dense = read_count(*first_dense, 0);
    return pattern;
  }
  if (!every || first_dense)
    value.fail(fmt::format("{} is not a pattern; allowed: {}", value.shown(), kLayerForms));
  pattern.kind = LayerPattern::Kind::kEvery;
  pattern.every = read_count(*every, 1);
  pattern.offset = offset ? read_count(*offset, 0) : 0;
  if (pattern.offset >= pattern.every)
    offset->fail(fmt::format("{} is not below every: {}", pattern.offset, pattern.every));
  return pattern;
}

LayerPattern read_layer_list(const Value& value) {
  LayerPattern pattern;
  pattern.kind = LayerPattern::Kind::kList;
  if (value.items.empty()) value.fail("the list is empty; write none for a dense model");
  for (const Value& item : value.items) {
    const int64_t layer = read_count(item, 0);
    if (pattern.contains(layer)) item.fail(fmt::format("layer {} is listed twice", layer));
    pattern.list.push_back(layer);
  }
  return pattern;
}

void read_layers(const Value& value, LayerPattern& target) {
  if (value.is_map()) {
    target = read_layer_map(value);
  } else if (value.is_list()) {
    target = read_layer_list(value);
  } else if (value.scalar == "all" || value.scalar == "none") {
    target = LayerPattern{};
    if (value.scalar == "none") target.kind = LayerPattern::Kind::kNone;
  } else {
    value.fail(fmt::format("{} is not a layer pattern; allowed: {}", value.shown(), kLayerForms));
  }
}

Value print_layers(const LayerPattern& pattern) {
  switch (pattern.kind) {
    case LayerPattern::Kind::kAll:
      return Value::of_word("all");
    case LayerPattern::Kind::kNone:
      return Value::of_word("none");
    case LayerPattern::Kind::kEvery:
      return Value::of_map({{"every", Value::of_integer(pattern.every)},
                            {"offset", Value::of_integer(pattern.offset)}});
    case LayerPattern::Kind::kFirstDense:
      return Value::of_map({{"first_dense", Value::of_integer(pattern.first_dense)}});
    case LayerPattern::Kind::kList:
      break;
  }
  std::vector<Value> items;
  for (const int64_t layer : pattern.list) items.push_back(Value::of_integer(layer));
  return Value::list(std::move(items));
}

void read_scope(const Value& value, BalanceOptions& options) {
  if (value.is_map()) {
    for (const auto& [key, child] : value.map)
      if (key != "sequences") child.fail_key("unknown key" + suggestion(key, {"sequences"}));
    if (value.map.empty()) value.fail(fmt::format("{{}} is not a scope; allowed: {}", kScopeForms));
    options.scope_sequences = read_count(value.map[0].second, 1);
    options.scope = "sequences";
    return;
  }
  const std::vector<std::string> words = {"step", "micro_batch", "sequence"};
  if (!value.is_scalar() || std::find(words.begin(), words.end(), value.scalar) == words.end())
    value.fail(value.shown() + " is not a scope" +
               suggestion(value.is_scalar() ? value.scalar : "", words) + ", {sequences: n}");
  options.scope = value.scalar;
  options.scope_sequences = 0;
}

Value print_scope(const BalanceOptions& options) {
  if (options.scope != "sequences") return Value::of_word(options.scope);
  return Value::of_map({{"sequences", Value::of_integer(options.scope_sequences)}});
}

void read_eval_factor(const Value& value, CapacityOptions& options) {
  const bool word = value.is_scalar() && (value.scalar == "auto" || value.scalar == "none");
  const double factor = word ? 0 : value.as_number();
  if (!word && factor <= 0)
    value.fail(value.shown() + " is out of range; allowed: auto | none | number > 0");
  options.eval_dropless = word && value.scalar == "none";
  options.eval_factor = word ? std::nullopt : std::optional<double>(factor);
}

Value print_eval_factor(const CapacityOptions& options) {
  if (options.eval_factor) return Value::of_number(*options.eval_factor);
  return Value::of_word(options.eval_dropless ? "none" : "auto");
}

/// True where the K combine weights of a token always add up to a constant.
bool normalises(const MoEOptions& options) {
  const std::string& type = options.router.type;
  if (type == "gshard" || type == "mixtral" || type == "deepseek_v3") return true;
  return type == "top_k" && options.router.normalize.value_or(options.top_k > 1);
}

void check_top_k(const MoEOptions& o) {
  if (o.top_k > o.num_experts)
    throw ConfigError(
        fmt::format("moe.top_k: {} is above moe.num_experts: {}", o.top_k, o.num_experts));
  if (o.router.type == "switch" && o.top_k != 1)
    throw ConfigError(fmt::format(
        "moe.top_k: {} does not fit moe.router.type: switch, which takes one expert; allowed: 1",
        o.top_k));
  if (o.router.type == "gshard" && o.top_k != 2)
    throw ConfigError(fmt::format(
        "moe.top_k: {} does not fit moe.router.type: gshard, which takes two experts; allowed: 2",
        o.top_k));
  if (o.top_k != 1) return;
  if (normalises(o)) {
    const bool by_key = o.router.type == "top_k";
    throw ConfigError(
        fmt::format("moe.top_k: 1 with normalised weights ({}) gives every expert the constant "
                    "weight 1 and the router no "
                    "gradient; allowed: {}",
                    by_key ? "moe.router.normalize: true" : "moe.router.type: " + o.router.type,
                    by_key ? "normalize: false, or top_k ≥ 2"
                           : "top_k ≥ 2, or a router without normalisation such as switch"));
  }
  if (o.capacity.renormalize)
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
  if (kept > groups)
    throw ConfigError(
        fmt::format("moe.router.kept_groups: {} is above moe.router.groups: {}", kept, groups));
  const int64_t reachable = kept * (o.num_experts / groups);
  if (o.top_k > reachable)
    throw ConfigError(
        fmt::format("moe.top_k: {} is above the {} experts in moe.router.kept_groups: {} of "
                    "moe.router.groups: {}",
                    o.top_k, reachable, kept, groups));
}

}  // namespace

bool LayerPattern::contains(int64_t layer) const {
  switch (kind) {
    case Kind::kAll:
      return true;
    case Kind::kNone:
      return false;
    case Kind::kEvery:
      return layer % every == offset;
    case Kind::kFirstDense:
      return layer >= first_dense;
    case Kind::kList:
      return std::find(list.begin(), list.end(), layer) != list.end();
  }
  return false;
}

void describe(Fields& fields, RouterOptions& options) {
  fields
      .choice("type", options.type,
              {"switch", "gshard", "mixtral", "top_k", "deepseek_moe", "deepseek_v3"},
              "How tokens are scored, selected and weighted.")
      .also_called({"router_type", "gate", "gate_type", "moe_router"})
      .also_spelled({{"topk_softmax", "top_k"},
                     {"olmoe", "top_k"},
                     {"qwen3_moe", "top_k"},
                     {"noaux_tc", "deepseek_v3"},
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
      .only_for({"top_k", "deepseek_moe", "deepseek_v3"})
      .also_called({"routed_scaling_factor", "route_scale", "moe_router_topk_scaling_factor"});
  fields
      .integer("groups", options.groups,
               "Equal groups that the experts are split into; 1 = no groups.")
      .at_least(1)
      .only_for({"top_k", "deepseek_v3"})
      .also_called({"n_group", "n_expert_groups", "num_expert_groups", "moe_router_num_groups"});
  fields.integer("kept_groups", options.kept_groups, "Groups that a token may choose from.")
      .at_least(1)
      .only_for({"top_k", "deepseek_v3"})
      .also_called(
          {"topk_group", "n_limited_groups", "num_limited_groups", "moe_router_group_topk"});
  fields
      .number("jitter", options.jitter,
              "ε of the noise U[1-ε, 1+ε] on the router's input in training.")
      .at_least(0)
      .less_than(1)
      .also_called({"router_jitter_noise", "jitter_eps", "moe_input_jitter_eps", "moe_jitter_eps",
                    "input_jitter_noise"});
  fields
      .number_or("init", options.init, "auto",
                 "Standard deviation of the router's first weights; auto = model.init_std.")
      .at_least(0);
}

void describe(Fields& fields, BalanceOptions& options) {
  fields
      .choice("type", options.type, {"load_balance", "z"},
              "The term: 1 at perfect balance, or a magnitude (z).")
      .also_spelled({{"aux_loss", "load_balance"},
                     {"z_loss", "z"},
                     {"router_z_loss", "z"},
                     {"seq_aux_loss", "sequence"},
                     {"global_aux_loss", "global_batch"}});
  fields.alias("switch", "load_balance", {{"scope", Value::of_word("micro_batch")}});
  fields.alias("micro_batch", "load_balance", {{"scope", Value::of_word("micro_batch")}});
  fields.alias("global_batch", "load_balance", {{"scope", Value::of_word("step")}});
  fields.alias("sequence", "load_balance", {{"scope", Value::of_word("sequence")}});
  fields.alias("gshard", "load_balance", {{"first_choice", Value::of_flag(true)}});
  fields.number("coef", options.coef, "Coefficient of the term in the loss.")
      .at_least(0)
      .default_for("z", Value::of_number(0.001))
      .also_called({"aux_loss_coef", "router_aux_loss_coef", "router_z_loss_coef",
                    "moe_aux_loss_coeff", "moe_z_loss_coeff", "load_balance_coeff",
                    "aux_loss_alpha", "alpha", "weight", "coefficient", "lambda"});
  fields
      .custom(
          "scope", kScopeForms, [&options](const Value& value) { read_scope(value, options); },
          [&options] { return print_scope(options); },
          "Tokens over which load and scores are averaged.")
      .only_for({"load_balance"})
      .with_schema(
          R"({"anyOf": [{"enum": ["step", "micro_batch", "sequence"]}, {"type": "object", "properties":
          {"sequences": {"type": "integer", "minimum": 1}}, "required": ["sequences"], "additionalProperties": false}]})");
  fields
      .choice("f", options.f, {"running", "exact"},
              "Load over the step so far, or over the whole step by a forward-only counting pass.")
      .only_for({"step"}, "scope");
  fields
      .choice("count", options.count, {"routed", "unbiased"},
              "Count the selected experts, or the top K by score without bias and groups.")
      .only_for({"load_balance"});
  fields.flag("first_choice", options.first_choice, "Count first choices only.")
      .only_for({"load_balance"});
}

void describe(Fields& fields, BiasOptions& options) {
  fields.choice("type", options.type, {"none", "sign"},
                "Rule that moves the selection biases after each step.");
  fields.number("rate", options.rate, "Size of each update.")
      .at_least(0)
      .only_for({"sign"})
      .also_called({"bias_update_speed", "bias_update_rate", "moe_router_bias_update_rate",
                    "bias_u", "gamma", "u"});
}

void describe(Fields& fields, CapacityOptions& options) {
  fields
      .number_or("factor", options.factor, "none",
                 "Tokens an expert accepts, as a multiple of K·T/E; none = dropless.")
      .more_than(0)
      .also_called({"capacity_factor", "moe_capacity_factor", "expert_capacity",
                    "moe_expert_capacity_factor", "train_capacity_factor"});
  fields
      .custom(
          "eval_factor", "auto | none | number > 0",
          [&options](const Value& value) { read_eval_factor(value, options); },
          [&options] { return print_eval_factor(options); },
          "The factor in evaluation; auto = factor, none = dropless.")
      .also_called({"eval_capacity_factor"})
      .with_schema(
          R"({"anyOf": [{"enum": ["auto", "none"]}, {"type": "number", "exclusiveMinimum": 0}]})");
  fields
      .choice("order", options.order, {"position", "probability", "batch_priority"},
              "Which assignments fill an expert first.")
      .also_spelled({{"probs", "probability"}, {"vmoe", "batch_priority"}})
      .also_called({"token_drop_policy", "moe_token_drop_policy", "drop_policy"});
  fields.choice("overflow", options.overflow, {"drop"},
                "What happens to an assignment above the capacity.");
  fields.choice("scope", options.scope, {"micro_batch", "sequence"},
                "Tokens that share one capacity.");
  fields.integer("min", options.min, "Lowest capacity.").at_least(0).also_called({"min_capacity"});
  fields.flag("renormalize", options.renormalize,
              "Divide the weights of the kept assignments by their sum.");
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
  fields
      .integer("num_experts", options.num_experts,
               "Routed experts of each MoE layer; shared ones are not counted.")
      .at_least(1)
      .also_called({"num_local_experts", "n_routed_experts", "moe_num_experts", "n_experts",
                    "n_expert", "num_moe_experts"});
  fields.integer("top_k", options.top_k, "Routed experts that each token goes to.")
      .at_least(1)
      .also_called({"num_experts_per_tok", "num_experts_per_token", "moe_router_topk",
                    "n_activated_experts", "moe_top_k", "n_expert_used", "num_selected_experts",
                    "experts_per_token"});
  fields.integer("expert_dim", options.expert_dim, "Width of each routed expert.")
      .at_least(1)
      .also_called({"moe_intermediate_size", "moe_ffn_hidden_size", "expert_ffn_hidden_size",
                    "moe_inter_dim", "moe_hidden_dim", "expert_hidden_size"});
  fields.integer("shared_experts", options.shared_experts, "Experts that every token goes to.")
      .at_least(0)
      .also_called({"n_shared_experts", "num_shared_experts", "num_shared_expert"});
  fields
      .integer_or("shared_dim", options.shared_dim, "auto",
                  "Width of all shared experts together; auto = expert_dim × shared_experts.")
      .at_least(1)
      .also_called({"shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"});
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
}

void validate(const MoEOptions& options) {
  check_top_k(options);
  check_groups(options);
  if (options.shared_dim && options.shared_experts == 0)
    throw ConfigError(fmt::format(
        "moe.shared_dim: {} without shared experts; allowed: auto, or moe.shared_experts ≥ 1",
        *options.shared_dim));
}

}  // namespace switchyard
