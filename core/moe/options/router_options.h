#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

class Fields;

/// `moe.router`: scores, selection and combine weights.
struct RouterOptions {
  std::string type = "top_k";
  std::string score = "softmax";     ///< top_k: softmax | sigmoid | sqrtsoftplus
  std::optional<bool> normalize;     ///< top_k: weights ÷ their sum; auto = only for K > 1
  double scale = 1.0;                ///< factor on the combine weights
  int64_t groups = 1;                ///< experts are split into this many equal groups
  int64_t kept_groups = 1;           ///< groups a token may choose from
  double jitter = 0.0;               ///< ε of the router input's noise U[1−ε, 1+ε]
  std::optional<double> init;        ///< std of the router weights; auto = model.init_std, noisy 0
  bool gating_residual = false;      ///< the logits of the MoE layer before count too, as in MoE++
  std::string pool = "micro_batch";  ///< expert_choice: micro_batch | sequence | tokens
  int64_t pool_tokens = 0;           ///< of pool: {tokens: n}
  std::string table = "random";      ///< hash: random | balanced | bigram
  double temperature = 1.0;          ///< gumbel, sinkhorn: logits (and noise) are divided by it
  int64_t rounds = 8;                ///< sinkhorn: rounds of scaling
  double l1 = 1e-8;                  ///< relu: first coefficient of the L1 term
  double l1_rate = 1.2;              ///< relu: factor by which it moves after each step
  std::vector<int64_t> branches;     ///< hierarchical: groups, experts in each
  std::vector<int64_t> kept;         ///< hierarchical: groups kept, experts kept in each
};

void describe(Fields& fields, RouterOptions& options);

}  // namespace switchyard
