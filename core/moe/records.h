#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "core/base/communicator.h"

namespace switchyard {

// Shape suffixes, used everywhere: T tokens of this rank, D model width, F expert width, E experts,
// e experts held by this rank, K columns of a decision (the most experts any token got), U unique
// tokens received here, R rows (token, expert) computed here, S sequences of this rank.

class RoutingTrace;

/// What a router may know beside the hidden states. A plain value, made by the trainer for each
/// forward pass; RoutingContext{} describes one process in evaluation.
struct RoutingContext {
  uint64_t seed = 0;
  int64_t step = 0;                      ///< optimizer steps done before this one
  int64_t layer = 0;                     ///< number of the decoder layer
  int64_t first_token = 0;               ///< this rank's first token within the step: sequence × L
  int64_t sequence_length = 0;           ///< L; 0 = all tokens are one sequence
  at::Tensor token_ids_T;                ///< int64; only hash routers need it
  Communicator* communicator = nullptr;  ///< all ranks that share the batch; nullptr = alone
  bool training = false;                 ///< random choices, `factor` rather than `eval_factor`
  /// The factor in force where `moe.capacity.dynamic` moves it; nullopt = as configured.
  std::optional<double> capacity_factor;
  /// Router logits [T, E] of the MoE layer before, differentiable, for `gating_residual`; undefined
  /// in the first one and behind routers without logits.
  at::Tensor previous_logits_TE;
  RoutingTrace* trace = nullptr;  ///< records or replays assignments; nullptr = neither
  /// In evaluation: as semantics section 1 says for the router, or one way whatever the router.
  /// kTokenChoice: each token takes its own top-k, dropless, so that no later token matters.
  /// kWholeBatch: routers that assign a whole batch do so, without noise.
  enum class Selection { kDefault, kTokenChoice, kWholeBatch } selection = Selection::kDefault;
  /// Fill RoutingDecision::slot_TK: in orders other than position the keys of every assignment then
  /// travel, not only those of experts with more of them than seats.
  bool places = true;
  bool measure_outputs = false;  ///< fill ExpertWork::mean_square_sum_E: one more expert pass

  int64_t num_sequences(int64_t num_tokens) const {
    return sequence_length > 0 ? num_tokens / sequence_length : (num_tokens > 0 ? 1 : 0);
  }
};

/// Which experts each token goes to, and with which weight. Floats are at least fp32.
struct RoutingDecision {
  at::Tensor expert_ids_TK;  ///< int64, by falling score (choice order), −1 = none
  at::Tensor weights_TK;     ///< combine weights, differentiable; capacity may change them
  at::Tensor kept_TK;        ///< bool; false where −1 or refused by the capacity policy
  /// int64, place in the expert's queue, −1 if refused; undefined if dropless or without
  /// RoutingContext::places.
  at::Tensor slot_TK;
  /// expert_ids_TK as the router chose them, set with the capacity: what counts_E counts. Another
  /// tensor only where overflow next_choice moved assignments.
  at::Tensor selected_TK;
  at::Tensor logits_TE;  ///< differentiable; undefined for routers without scores
  at::Tensor scores_TE;  ///< s of semantics section 1, differentiable
  at::Tensor probs_TE;   ///< p: s normalised over the experts, differentiable
  /// Selection keys: s + b, −inf where a token may not go. Undefined for routers that do not rank a
  /// token's experts. It carries a gradient only where weights_of() needs one (noisy_top_k,
  /// gumbel).
  at::Tensor ranking_TE;
  at::Tensor load_TE;   ///< noisy_top_k in training: P(expert is selected), differentiable
  at::Tensor counts_E;  ///< int64, assignments selected by this rank's tokens, before drops
  /// int64 scalar: Σ_t (K − |topK(s) ∩ topK(s + b)|), the choices that a bias moved. Undefined
  /// without a bias.
  at::Tensor moved;

  /// What the router chose, wherever a refused choice went: all counts of experts are of this.
  const at::Tensor& first_selection_TK() const {
    return selected_TK.defined() ? selected_TK : expert_ids_TK;
  }
};

/// What the experts of this rank did, for the metrics.
struct ExpertWork {
  at::Tensor received;    ///< int64 scalar: tokens, of any rank, that some expert here served
  at::Tensor computed_E;  ///< int64: rows computed here for each expert
  /// fp64: Σ over those rows of the mean square of the expert's output, before the combine weight;
  /// undefined unless asked for.
  at::Tensor mean_square_sum_E;
};

/// The tokens that this rank's experts serve, after the exchange.
struct Dispatched {
  at::Tensor x_UD;          ///< unique tokens, in global order
  at::Tensor row_token_R;   ///< int64, row of x_UD; rows are sorted by (expert, global token)
  at::Tensor row_weight_R;  ///< combine weight of each row, differentiable
  std::vector<int64_t>
      offsets_e;  ///< e + 1 entries: rows [offsets[i], offsets[i+1]) go to expert i
};

}  // namespace switchyard
