#include "core/loss/load_balance_term.h"

#include <algorithm>

#include "core/kernels/select.h"
#include "core/loss/option_term.h"
#include "core/loss/selected.h"
#include "core/loss/sequence_sum.h"

namespace switchyard {
namespace {

class LoadBalanceTerm final : public OptionTerm {
 public:
  LoadBalanceTerm(const BalanceOptions& options, const MoEOptions& moe)
      : OptionTerm(options), top_k_(moe.top_k), light_(moe.light) {}

  // Columns: Σ p over the sequence's tokens [E], then its counts [E].
  at::Tensor sequence_sums(const RoutingDecision& decision,
                           const RoutingContext& context) const override {
    const at::Tensor probs_SE = sum_per_sequence(decision.probs_TE, context);
    const at::Tensor counts_SE = sum_per_sequence(chosen_TE(decision), context);
    return at::cat({probs_SE, counts_SE}, 1);
  }

  at::Tensor value(const at::Tensor& sums_NW, const TermContext& context) const override {
    const int64_t N = sums_NW.size(0), E = sums_NW.size(1) / 2;
    at::Tensor total = at::zeros({}, sums_NW.options());
    const at::Tensor weights_E = at::ones({E}, sums_NW.options());
    weights_E.narrow(0, E - light_.count, light_.count).fill_(light_.weight);
    const int64_t group = group_size(N);
    for (int64_t first = 0; first < N; first += group) {
      const int64_t size = std::min(group, N - first);
      const at::Tensor sums_W = sums_NW.narrow(0, first, size).sum(0);
      const at::Tensor probs_E =
          sums_W.narrow(0, 0, E) / static_cast<double>(size * context.sequence_length);
      const at::Tensor counts_E =
          context.step_counts_E.defined() ? context.step_counts_E : sums_W.narrow(0, E, E).detach();
      const at::Tensor shares_E = counts_E / counts_E.sum().clamp_min(1);
      const double share_of_tokens = static_cast<double>(size) / static_cast<double>(N);
      total =
          total + (weights_E * shares_E * probs_E).sum() * (light_.even_size(E) * share_of_tokens);
    }
    return total;
  }

  at::Tensor counts(const at::Tensor& sums_NW) const override {
    if (options_.scope != "step") return {};
    const int64_t E = sums_NW.size(1) / 2;
    return sums_NW.narrow(1, E, E).detach().sum(0);
  }

  bool needs_counting_pass() const override {
    return options_.scope == "step" && options_.f == "exact";
  }

 private:
  int64_t group_size(int64_t num_sequences) const {
    if (options_.scope == "sequence") return 1;
    if (options_.scope == "sequences") return options_.scope_sequences;
    return std::max<int64_t>(num_sequences, 1);
  }

  // 1 where a token's choice counts.
  at::Tensor chosen_TE(const RoutingDecision& decision) const {
    at::Tensor ids_TK = decision.expert_ids_TK;
    if (options_.count == "unbiased") {
      const int64_t E = decision.scores_TE.size(1);  // soft may have a larger K
      ids_TK = select_top_k(decision.scores_TE.detach(), std::min(top_k_, E));
    }
    if (options_.first_choice) ids_TK = ids_TK.narrow(1, 0, 1);
    return selected_TE(ids_TK, decision.probs_TE.size(1));
  }

  int64_t top_k_;
  LightExperts light_;
};

}  // namespace

std::shared_ptr<const BalanceTerm> make_load_balance_term(const BalanceOptions& options,
                                                          const MoEOptions& moe) {
  return std::make_shared<LoadBalanceTerm>(options, moe);
}

}  // namespace switchyard
