#pragma once

namespace switchyard {

class Fields;
struct MoEOptions;

/// The keys of `moe` about what stands beside the routed experts: shared_experts, shared_dim,
/// shared_gate, residual, zero_experts, copy_experts, constant_experts.
void describe_beside(Fields& fields, MoEOptions& options);
/// Throws ConfigError where they contradict each other.
void check_beside(const MoEOptions& options);
/// Throws ConfigError for what does not go with zero, copy and constant experts.
void check_zero_compute(const MoEOptions& options);

}  // namespace switchyard
