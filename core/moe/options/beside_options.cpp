#include "core/moe/options/beside_options.h"

#include <fmt/format.h>

#include "core/base/error.h"
#include "core/config/fields.h"
#include "core/moe/options.h"

namespace switchyard {

void describe_beside(Fields& fields, MoEOptions& options) {
  fields.integer("shared_experts", options.shared_experts, "Experts that every token goes to.")
      .at_least(0)
      .also_called({"n_shared_experts", "num_shared_experts", "num_shared_expert"});
  fields
      .integer_or("shared_dim", options.shared_dim, "auto",
                  "Width of all shared experts together; auto = expert_dim × shared_experts, or "
                  "expert_dim with residual.")
      .at_least(1)
      .also_called({"shared_expert_intermediate_size", "moe_shared_expert_intermediate_size"});
  fields
      .flag("shared_gate", options.shared_gate,
            "Multiply the shared experts' output by sigmoid(w · x) (Qwen2-MoE).")
      .also_called({"moe_shared_expert_gate", "use_shared_expert_gate", "shared_expert_gate"});
  fields
      .flag("residual", options.residual,
            "Every token also goes through one dense feed-forward, to which its one routed expert "
            "is added (PR-MoE).")
      .also_called({"use_residual", "moe_use_residual", "residual_moe", "mlp_type"});
}

void check_beside(const MoEOptions& o) {
  if (o.residual && o.shared_experts > 0)
    throw ConfigError(
        fmt::format("moe.residual: true with moe.shared_experts: {}; allowed: one of the two",
                    o.shared_experts));
  if (o.residual && o.top_k != 1)
    throw ConfigError(fmt::format(
        "moe.residual: true with moe.top_k: {}; PR-MoE adds one routed expert to its dense "
        "feed-forward; allowed: moe.top_k: 1, or moe.shared_experts: 1 for more",
        o.top_k));
  if (o.shared_width() > 0) return;
  if (o.shared_dim)
    throw ConfigError(fmt::format(
        "moe.shared_dim: {} without shared experts; allowed: auto, moe.shared_experts ≥ 1 or "
        "moe.residual: true",
        *o.shared_dim));
  if (o.shared_gate)
    throw ConfigError(
        "moe.shared_gate: true without shared experts; allowed: false, moe.shared_experts ≥ 1 or "
        "moe.residual: true");
}

}  // namespace switchyard
