#include "core/model/moe_output_list.h"

namespace switchyard {

void append_to_list(const MoEOutput& output, std::vector<at::Tensor>& list) {
  list.insert(list.end(), output.terms.begin(), output.terms.end());
  const RoutingDecision& decision = output.decision;
  list.insert(list.end(), {decision.expert_ids_TK, decision.kept_TK, decision.counts_E,
                           decision.logits_TE.detach(), decision.probs_TE.detach()});
}

MoEOutput from_list(const std::vector<at::Tensor>& list, size_t first, size_t num_terms) {
  MoEOutput output;
  output.terms.assign(list.begin() + static_cast<std::ptrdiff_t>(first),
                      list.begin() + static_cast<std::ptrdiff_t>(first + num_terms));
  size_t next = first + num_terms;
  output.decision.expert_ids_TK = list[next++];
  output.decision.kept_TK = list[next++];
  output.decision.counts_E = list[next++];
  output.decision.logits_TE = list[next++];
  output.decision.probs_TE = list[next++];
  return output;
}

}  // namespace switchyard
