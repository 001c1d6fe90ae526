#include "core/moe/options/router_options.h"

#include "core/config/fields.h"

namespace switchyard {

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

}  // namespace switchyard
