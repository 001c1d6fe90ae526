#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "core/base/communicator.h"
#include "core/moe/balance_term.h"
#include "core/moe/bias.h"
#include "core/moe/options.h"
#include "core/moe/records.h"
#include "core/moe/routers/router.h"
#include "trainers/route/scores_file.h"

namespace switchyard {

/// How recorded logits are routed, beside the config.
struct RouteSettings {
  bool training = false;
  uint64_t seed = 1;
  int64_t step = 0, layer = 0;
  int64_t sequence_length = 0;  ///< L, divides T
  int64_t vocab_size = 0;       ///< of a hash router
};

/// Everything that the ranks share, read only.
class RoutePlan {
 public:
  /// Keeps a reference to `scores`. Throws DataError or ConfigError where scores, config and
  /// settings contradict each other.
  RoutePlan(const MoEOptions& moe, const Scores& scores, const RouteSettings& settings);

  const MoEOptions& moe() const { return moe_; }
  const Scores& scores() const { return scores_; }
  const RouteSettings& settings() const { return settings_; }
  /// What the router knows the tokens by: for a balanced table their places among those that occur.
  const at::Tensor& token_ids_T() const { return token_ids_T_; }
  const Router& router() const { return *router_; }
  /// With coefficient 1 each.
  const BalanceTerms& terms() const { return terms_; }
  /// Before the step, in the type of the logits; bias_E is undefined where none is in use.
  BiasState bias() const;

 private:
  MoEOptions moe_;
  const Scores& scores_;
  RouteSettings settings_;
  at::Tensor token_ids_T_;
  std::unique_ptr<Router> router_;
  BalanceTerms terms_;
};

/// A balance term without its coefficient.
struct RoutedTerm {
  at::Tensor value;        ///< fp64 [1], over all tokens
  at::Tensor gradient_TE;  ///< by the logits of the share's tokens, in their shape: [T, a + E]
                           ///< hierarchical
};

/// What is decided about consecutive tokens. Nothing here carries a gradient.
struct RouteShare {
  RoutingDecision decision;  ///< with slots also where the config is dropless; counts of all tokens
  at::Tensor new_bias_E;     ///< undefined where no bias is in use
  std::vector<RoutedTerm> terms;
};

/// Routes the sequences of this rank. Collective; ranks may have no sequences.
RouteShare route_share(const RoutePlan& plan, Communicator& comm);

/// Joins the tokens of all ranks in order, with as many columns as any token has experts, at least
/// one. Collective; the same on every rank.
RouteShare gather(const RouteShare& mine, Communicator& comm);

}  // namespace switchyard
