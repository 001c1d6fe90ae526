#pragma once

#include <torch/torch.h>

#include "core/base/local_communicator.h"
#include "core/loss/balance_loss.h"
#include "core/loss/balance_terms.h"

// What the tests of single terms share: one term, with coefficient 1, on one process.
namespace switchyard {

inline BalanceOptions term_options(const std::string& type) {
  BalanceOptions term;
  term.type = type;
  term.coef = 1.0;
  return term;
}

inline MoEOptions with_term(int64_t experts, int64_t k, const BalanceOptions& term) {
  MoEOptions moe;
  moe.num_experts = experts;
  moe.top_k = k;
  moe.router.type = "top_k";
  moe.balance = {term};
  return moe;
}

inline RoutingContext sequences_of(int64_t length) {
  RoutingContext context;
  context.sequence_length = length;
  return context;
}

/// The first term of `moe` for one micro-batch with sequences of `length` tokens.
inline BalanceValue evaluate(const MoEOptions& moe, const RoutingDecision& decision,
                             int64_t length) {
  const BalanceTerms terms = make_balance_terms(moe);
  BalanceLoss loss(terms);
  loss.begin_step({0, 1.0});
  auto comm = make_local_communicator();
  return loss.evaluate({{terms[0]->sequence_sums(decision, sequences_of(length))}}, length, *comm);
}

inline double value(const MoEOptions& moe, const RoutingDecision& decision, int64_t length) {
  return evaluate(moe, decision, length).value;
}

inline torch::Tensor fp64(const torch::Tensor& tensor) {
  return tensor.to(torch::kDouble);
}

/// Largest difference of two tensors.
inline double apart(const torch::Tensor& a, const torch::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

}  // namespace switchyard
