#pragma once

namespace switchyard {

class Fields;
struct MoEOptions;

/// The keys of `moe` about what stands beside the routed experts: shared_experts, shared_dim,
/// shared_gate, residual.
void describe_beside(Fields& fields, MoEOptions& options);
/// Throws ConfigError where they contradict each other.
void check_beside(const MoEOptions& options);

}  // namespace switchyard
