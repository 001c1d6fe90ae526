#include "core/model/moe_output_list.h"

#include <ATen/ops/empty.h>

namespace switchyard {
namespace {

constexpr at::Tensor RoutingDecision::*kDecisionFields[] = {
    &RoutingDecision::expert_ids_TK, &RoutingDecision::kept_TK, &RoutingDecision::counts_E,
    &RoutingDecision::probs_TE,      &RoutingDecision::moved,   &RoutingDecision::selected_TK};
constexpr at::Tensor ExpertWork::*kWorkFields[] = {&ExpertWork::received, &ExpertWork::computed_E};

// A recomputed block returns defined tensors only: an empty vector stands for none. No field is a
// vector of no elements otherwise, since there is at least one expert.
at::Tensor packed(const at::Tensor& tensor) {
  return tensor.defined() ? tensor : at::empty({0});
}

at::Tensor unpacked(const at::Tensor& tensor) {
  return tensor.dim() == 1 && tensor.numel() == 0 ? at::Tensor() : tensor;
}

}  // namespace

void append_to_list(const MoEOutput& output, std::vector<at::Tensor>& list) {
  for (const at::Tensor& term : output.terms) list.push_back(packed(term));
  list.push_back(packed(output.decision.logits_TE));
  for (const auto field : kDecisionFields) list.push_back(packed(output.decision.*field).detach());
  for (const auto field : kWorkFields) list.push_back(packed(output.work.*field));
  list.push_back(packed(output.margins_TE));
}

MoEOutput from_list(const std::vector<at::Tensor>& list, size_t first, size_t num_terms) {
  MoEOutput output;
  size_t next = first;
  for (size_t term = 0; term < num_terms; ++term) output.terms.push_back(unpacked(list[next++]));
  output.decision.logits_TE = unpacked(list[next++]);
  for (const auto field : kDecisionFields) output.decision.*field = unpacked(list[next++]);
  for (const auto field : kWorkFields) output.work.*field = unpacked(list[next++]);
  output.margins_TE = unpacked(list[next++]);
  return output;
}

}  // namespace switchyard
