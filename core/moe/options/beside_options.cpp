#include "core/moe/options/beside_options.h"

#include <fmt/format.h>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/config/fields.h"
#include "core/moe/options.h"

namespace switchyard {

void describe_beside(Fields& fields, MoEOptions& options) {
  fields.integer("shared_experts", options.shared_experts, "Experts that every token goes to.")
      .at_least(0)
      .at_most(kMaxExperts)
      .also_called({"n_shared_experts", "num_shared_experts", "num_shared_expert"});
  fields
      .integer_or("shared_dim", options.shared_dim, "auto",
                  "Width of all shared experts together; auto = expert_dim × shared_experts, or "
                  "expert_dim with residual.")
      .at_least(1)
      .at_most(kMaxWidth)
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
  fields
      .integer("zero_experts", options.zero_experts,
               "Experts with output 0, routed to like the others and numbered after them (MoE++).")
      .at_least(0)
      .at_most(kMaxExperts);
  fields
      .integer("copy_experts", options.copy_experts,
               "Experts whose output is their input, numbered after the zero experts (MoE++).")
      .at_least(0)
      .at_most(kMaxExperts);
  fields
      .integer(
          "constant_experts", options.constant_experts,
          "Experts that mix their input with a learned vector, numbered after the copy experts "
          "(MoE++).")
      .at_least(0)
      .at_most(kMaxExperts);
  fields
      .number("zero_compute_weight", options.zero_compute_weight,
              "τ of MoE++: load_balance counts zero, copy and constant experts by it, and an even "
              "load gives each 1/τ of what a feed-forward expert gets, which capacity follows.")
      .more_than(0);
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

void check_zero_compute(const MoEOptions& o) {
  const auto refuse = [](const std::string& setting, const std::string& allowed) {
    throw ConfigError(fmt::format("{} does not go with zero, copy or constant experts; allowed: {}",
                                  setting, allowed));
  };
  if (o.router.groups > 1)
    refuse(fmt::format("moe.router.groups: {}", o.router.groups), "groups: 1");
  if (o.router.type == "hierarchical") refuse("moe.router.type: hierarchical", "another router");
  if (o.capacity.overflow == "next_choice") refuse("moe.capacity.overflow: next_choice", "drop");
  for (const BalanceOptions& term : o.balance)
    if (term.type == "device" || term.type == "communication")
      refuse(fmt::format("moe.balance.type: {}", term.type), "terms that know no devices");
  if (o.capacity.renormalize) refuse("moe.capacity.renormalize: true", "false");
}

}  // namespace switchyard
