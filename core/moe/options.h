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
  std::string score = "softmax";  ///< top_k: softmax | sigmoid | sqrtsoftplus
  std::optional<bool> normalize;  ///< top_k: weights ÷ their sum; auto = only for K > 1
  double scale = 1.0;             ///< factor on the combine weights
  int64_t groups = 1;             ///< experts are split into this many equal groups
  int64_t kept_groups = 1;        ///< groups a token may choose from
  double jitter = 0.0;            ///< ε of the router input's noise U[1−ε, 1+ε]
  std::optional<double> init;     ///< std of the router weights; auto = model.init_std
};

/// One entry of `moe.balance`.
struct BalanceOptions {
  std::string type = "load_balance";
  double coef = 0.01;            ///< ≥ 0; multiplies a term that is 1 at perfect balance
  std::string scope = "step";    ///< sequence | sequences | micro_batch | step
  int64_t scope_sequences = 0;   ///< group size of scope {sequences: n}
  std::string f = "running";     ///< scope step: running | exact
  std::string count = "routed";  ///< routed | unbiased (top-K of s, no bias, no groups)
  bool first_choice = false;     ///< count first choices only
};

/// `moe.bias`: balancing without a loss.
struct BiasOptions {
  std::string type = "none";  ///< none | sign
  double rate = 0.001;        ///< step u of each update
};

/// `moe.capacity`: how many tokens an expert accepts.
struct CapacityOptions {
  std::optional<double> factor;       ///< none = dropless
  std::optional<double> eval_factor;  ///< factor in evaluation; auto = factor
  bool eval_dropless = false;         ///< eval_factor: none
  std::string order = "position";     ///< position | probability | batch_priority
  std::string overflow = "drop";
  std::string scope = "micro_batch";  ///< micro_batch | sequence
  int64_t min = 0;                    ///< lowest capacity
  bool renormalize = false;           ///< weights of the kept ÷ their sum

  /// The factor in force in training or evaluation; nullopt = dropless.
  std::optional<double> factor_in(bool training) const {
    if (training) return factor;
    return eval_dropless ? std::nullopt : eval_factor ? eval_factor : factor;
  }
};

/// `moe.layers`: which decoder layers are MoE layers.
struct LayerPattern {
  enum class Kind { kAll, kNone, kEvery, kFirstDense, kList } kind = Kind::kAll;
  int64_t every = 1, offset = 0, first_dense = 0;
  std::vector<int64_t> list;
  bool contains(int64_t layer) const;
};

/// The `moe` block of a config.
struct MoEOptions {
  LayerPattern layers;
  int64_t num_experts = 16;
  int64_t top_k = 2;
  int64_t expert_dim = 128;
  int64_t shared_experts = 0;
  std::optional<int64_t> shared_dim;  ///< auto = expert_dim × shared_experts
  RouterOptions router;
  std::vector<BalanceOptions> balance = {{"load_balance", 0.01}, {"z", 0.001}};
  BiasOptions bias;
  CapacityOptions capacity;
};

void describe(Fields& fields, RouterOptions& options);
void describe(Fields& fields, BalanceOptions& options);
void describe(Fields& fields, BiasOptions& options);
void describe(Fields& fields, CapacityOptions& options);
void describe(Fields& fields, MoEOptions& options);

/// Throws ConfigError for a combination that no single key can refuse: top_k > num_experts, K = 1
/// with normalised weights, groups that do not divide the experts, ... The text names the key
/// paths.
void validate(const MoEOptions& options);

}  // namespace switchyard
