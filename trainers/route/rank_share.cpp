#include "trainers/route/rank_share.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <tuple>

#include "core/base/partition.h"
#include "core/loss/balance_loss.h"
#include "core/loss/balance_terms.h"
#include "core/moe/bias.h"
#include "core/moe/capacity.h"

namespace switchyard {
namespace {

MoEOptions with_unit_coefficients(MoEOptions moe) {
  for (BalanceOptions& term : moe.balance) {
    term.coef = 1;
    term.from = "switchyard";
  }
  return moe;
}

Share tokens_of(const RoutePlan& plan, const Communicator& comm) {
  const int64_t L = plan.settings().sequence_length;
  const Share sequences = block_of(comm.rank(), comm.size(), plan.scores().num_tokens() / L);
  return {sequences.first * L, sequences.count * L};
}

at::Tensor rows(const at::Tensor& all, const Share& block) {
  return all.defined() ? all.narrow(0, block.first, block.count).clone() : at::Tensor();
}

RoutingContext context_of(const RoutePlan& plan, const Share& tokens, Communicator& comm) {
  const RouteSettings& settings = plan.settings();
  RoutingContext context;
  context.seed = settings.seed;
  context.step = settings.step;
  context.layer = settings.layer;
  context.first_token = tokens.first;
  context.sequence_length = settings.sequence_length;
  context.token_ids_T = rows(plan.token_ids_T(), tokens);
  context.communicator = &comm;
  context.training = settings.training;
  return context;
}

RoutedTerm evaluate(const RoutePlan& plan, size_t index, const RoutingDecision& decision,
                    const RoutingContext& context, const at::Tensor& logits_TE) {
  const auto& term = plan.terms()[index];
  BalanceLoss loss(BalanceTerms{term});
  loss.begin_step({});
  const std::vector<std::vector<at::Tensor>> sums = {{term->sequence_sums(decision, context)}};
  if (loss.needs_counting_pass()) loss.count(sums, *context.communicator);
  const BalanceValue value = loss.evaluate(sums, context.sequence_length, *context.communicator);
  RoutedTerm routed{at::full({1}, value.value, at::kDouble), at::zeros_like(logits_TE)};
  if (!value.surrogate.defined()) return routed;
  const at::Tensor gradient_TE = torch::autograd::grad({value.surrogate}, {logits_TE}, {},
                                                       /*retain_graph=*/true,
                                                       /*create_graph=*/false,
                                                       /*allow_unused=*/true)[0];
  if (gradient_TE.defined()) routed.gradient_TE = gradient_TE;
  return routed;
}

// The layer's capacity rule; a dropless decision gets the places of a queue without an end.
void seat(const RoutePlan& plan, const RoutingContext& context, RoutingDecision& decision) {
  CapacityOptions options = plan.moe().capacity;
  if (decision.slot_TK.defined()) {
    options.factor.reset();  // the router has handed out the places
  } else if (!options.factor_in(context.training)) {
    options = {};
    options.factor = static_cast<double>(plan.moe().num_experts);
  }
  apply_capacity(options, plan.moe(), context, decision, &plan.router());
  decision.weights_TK = decision.weights_TK * plan.moe().router.scale;
}

at::Tensor joined(const at::Tensor& mine, Communicator& comm) {
  return mine.defined() ? gather_rows(comm, mine.detach().contiguous()) : at::Tensor();
}

// Ranks may have different numbers of columns.
at::Tensor joined(const at::Tensor& mine_TK, const at::Scalar& padding, Communicator& comm) {
  at::Tensor columns = at::full({1}, mine_TK.size(1), at::kLong);
  comm.all_reduce({columns}, ReduceOp::kMax)->wait();
  const int64_t missing = columns.item<int64_t>() - mine_TK.size(1);
  return joined(at::constant_pad_nd(mine_TK.detach(), {0, missing}, padding), comm);
}

// Leaves out the last columns, in which no token has an expert: gshard may refuse every second one.
void trim(RoutingDecision& decision) {
  const int64_t used = decision.expert_ids_TK.ge(0).any(0).sum().item<int64_t>();
  for (at::Tensor* tensor : {&decision.expert_ids_TK, &decision.weights_TK, &decision.selected_TK,
                             &decision.kept_TK, &decision.slot_TK})
    *tensor = tensor->narrow(1, 0, std::max<int64_t>(used, 1));
}

}  // namespace

RoutePlan::RoutePlan(const MoEOptions& moe, const Scores& scores, const RouteSettings& settings)
    : moe_(moe),
      scores_(scores),
      settings_(settings),
      token_ids_T_(scores.tokens_T),
      terms_(make_balance_terms(with_unit_coefficients(moe))) {
  check_scores(scores, moe,
               {.training = settings.training,
                .logit_columns = make_router(moe)->logit_columns(moe.num_experts),
                .sequence_length = settings.sequence_length,
                .vocab_size = settings.vocab_size});
  RouterResources resources{settings.vocab_size, {}};
  // A balanced table is made of the given tokens. Those that do not occur have no part in it, and a
  // vocabulary may have more than memory holds.
  if (moe.router.type == "hash" && moe.router.table == "balanced")
    std::tie(std::ignore, token_ids_T_, resources.token_counts_V) =
        at::_unique2(scores.tokens_T, true, /*return_inverse=*/true, /*return_counts=*/true);
  router_ = make_router(moe, resources);
}

BiasState RoutePlan::bias() const {
  BiasState state = make_bias_state(moe_.bias, moe_.num_experts);
  if (scores_.bias_E.defined()) state.bias_E = scores_.bias_E;
  for (at::Tensor* tensor : {&state.bias_E, &state.average_E, &state.integral_E, &state.error_E})
    if (tensor->defined()) *tensor = tensor->to(scores_.logits_TE.dtype(), false, /*copy=*/true);
  return state;
}

RouteShare route_share(const RoutePlan& plan, Communicator& comm) {
  const Share tokens = tokens_of(plan, comm);
  const RoutingContext context = context_of(plan, tokens, comm);
  const at::Tensor logits_TE = rows(plan.scores().logits_TE, tokens).requires_grad_(true);
  RouterInputs inputs;
  if (plan.router().logit_columns(plan.moe().num_experts) > 0) inputs.logits_TE = logits_TE;
  inputs.dtype = logits_TE.scalar_type();
  inputs.noise_TE = rows(plan.scores().noise_TE, tokens);

  BiasState bias = plan.bias();
  BiasStep step{.step = context.step, .top_k = plan.moe().top_k, .communicator = &comm};
  RouteShare share;
  share.decision = plan.router().decide(inputs, bias.bias_E, context);
  for (size_t i = 0; i < plan.moe().balance.size(); ++i)
    share.terms.push_back(evaluate(plan, i, share.decision, context, logits_TE));
  if (plan.moe().bias.type == "quantile")
    step.margins = {quantile_margins(share.decision.scores_TE, bias.bias_E, step.top_k)};

  const at::NoGradGuard no_grad;
  seat(plan, context, share.decision);
  for (at::Tensor* count : {&share.decision.counts_E, &share.decision.moved})
    if (count->defined()) comm.all_reduce({*count}, ReduceOp::kSum)->wait();
  step.counts_E = share.decision.counts_E;
  update_bias(plan.moe().bias, step, bias);
  share.new_bias_E = bias.bias_E;
  return share;
}

RouteShare gather(const RouteShare& mine, Communicator& comm) {
  const RoutingDecision& d = mine.decision;
  RouteShare whole{RoutingDecision{}, mine.new_bias_E, mine.terms};
  whole.decision.counts_E = d.counts_E;
  whole.decision.moved = d.moved;
  whole.decision.expert_ids_TK = joined(d.expert_ids_TK, -1, comm);
  whole.decision.weights_TK = joined(d.weights_TK, 0, comm);
  whole.decision.selected_TK = joined(d.selected_TK, -1, comm);
  whole.decision.kept_TK = joined(d.kept_TK, false, comm);
  whole.decision.slot_TK = joined(d.slot_TK, -1, comm);
  whole.decision.logits_TE = joined(d.logits_TE, comm);
  whole.decision.probs_TE = joined(d.probs_TE, comm);
  whole.decision.ranking_TE = joined(d.ranking_TE, comm);
  trim(whole.decision);
  for (size_t i = 0; i < mine.terms.size(); ++i)
    whole.terms[i].gradient_TE = joined(mine.terms[i].gradient_TE, comm);
  return whole;
}

}  // namespace switchyard
