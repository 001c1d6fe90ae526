#pragma once

#include <torch/torch.h>

#include <cmath>
#include <string>
#include <vector>

#include "core/loss/balance_loss.h"
#include "core/loss/balance_terms.h"
#include "tests/support/largest.h"
#include "tests/support/routing.h"

// The rows of the invariance matrix, and what its columns share.
namespace switchyard::invariance {

using test::random_matrix;

constexpr int64_t kExperts = 8, kTopK = 2, kLength = 3;

/// A balance term with a router that it applies to.
struct Row {
  std::string name;
  MoEOptions moe;
  bool accumulates = false;  ///< the same whatever the number of micro-batches
  double at_balance = 1;     ///< the value at perfect balance; NaN: see balanced_value()
};

struct Outcome {
  double value = 0;
  torch::Tensor grad;  ///< by the logits [T, E], or by the weight for a term of the weight
};

inline double largest_gradient(const Outcome& outcome) {
  return outcome.grad.abs().max().item<double>();
}

/// The larger of the relative differences of value and gradient; infinite where one of them is not
/// finite or the gradient of `a` is 0 all over.
inline double apart(const Outcome& a, const Outcome& b) {
  if (a.grad.sizes() != b.grad.sizes()) return INFINITY;
  test::Largest largest;
  largest.see((a.value - b.value) / std::max(1.0, std::abs(a.value)));
  largest.see((a.grad - b.grad).abs().max().item<double>() / largest_gradient(a));
  return largest.value();
}

inline Row row(const std::string& name, const std::string& type, bool accumulates,
               double at_balance) {
  Row row{name, test::router_options("top_k", kExperts, kTopK), accumulates, at_balance};
  row.moe.expert_dim = 4;
  BalanceOptions term;
  term.type = type;
  term.coef = 1.0;
  row.moe.balance = {term};
  return row;
}

inline Row load_balance(const std::string& name, const std::string& scope, bool accumulates) {
  Row result = row("load_balance, " + name, "load_balance", accumulates, 1);
  result.moe.balance[0].scope = scope;
  return result;
}

inline Row grouped(const std::string& type) {
  Row result = row(type, type, false, 1);
  result.moe.balance[0].has_groups = true;
  result.moe.balance[0].groups = 4;
  return result;
}

inline std::vector<Row> rows() {
  std::vector<Row> rows = {load_balance("sequence", "sequence", true),
                           load_balance("{sequences: 2}", "sequences", true),
                           load_balance("micro_batch", "micro_batch", false),
                           load_balance("step, f: exact", "step", true),
                           load_balance("step, f: running", "step", false),
                           load_balance("first_choice", "micro_batch", false),
                           load_balance("unbiased, sigmoid, groups", "micro_batch", false)};
  rows[1].moe.balance[0].scope_sequences = 2;
  rows[3].moe.balance[0].f = "exact";
  rows[5].moe.balance[0].first_choice = true;
  rows[6].moe.balance[0].count = "unbiased";
  rows[6].moe.router.type = "deepseek_v3";
  rows[6].moe.router.groups = 4;
  rows[6].moe.router.kept_groups = 2;
  rows.push_back(grouped("device"));
  rows.push_back(grouped("communication"));
  rows.push_back(row("importance", "importance", false, 0));
  rows.push_back(row("load", "load", false, 0));
  rows.back().moe.router.type = "noisy_top_k";
  rows.push_back(row("entropy", "entropy", false, 0));
  rows.push_back(row("z", "z", true, NAN));
  rows.push_back(row("token_entropy", "token_entropy", true, NAN));
  rows.push_back(row("orthogonal", "orthogonal", true, 0));
  rows.push_back(row("relu's L1", "z", false, 1));
  rows.back().moe.router.type = "relu";
  rows.back().moe.balance.clear();
  return rows;
}

/// What a magnitude is where all logits are 0.
inline double balanced_value(const Row& row, int64_t experts) {
  if (!std::isnan(row.at_balance)) return row.at_balance;
  const double ln = std::log(static_cast<double>(experts));
  return row.name == "z" ? ln * ln : ln;
}

}  // namespace switchyard::invariance
