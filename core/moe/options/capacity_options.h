#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

class Fields;

/// `moe.capacity.dynamic`: the factor follows the drop rate.
struct DynamicCapacity {
  double min = 0, max = 0;  ///< bounds of the factor
  double target_drop = 0;   ///< wanted share of refused assignments
};

/// `moe.capacity`: how many tokens an expert accepts.
struct CapacityOptions {
  std::optional<double> factor;       ///< none = dropless
  std::optional<double> eval_factor;  ///< factor in evaluation; auto = factor
  bool eval_dropless = false;         ///< eval_factor: none
  std::string order = "position";     ///< position | probability | batch_priority | random
  std::string overflow = "drop";      ///< drop | next_choice
  std::string scope = "micro_batch";  ///< micro_batch | sequence | sequences
  int64_t scope_sequences = 0;        ///< group size of scope {sequences: n}
  int64_t min = 0;                    ///< lowest capacity
  bool renormalize = false;           ///< weights of the kept ÷ their sum
  std::optional<DynamicCapacity> dynamic;

  bool is_set() const { return factor.has_value() || eval_factor.has_value(); }
  /// The factor in force in training or evaluation; nullopt = dropless.
  std::optional<double> factor_in(bool training) const {
    if (training) return factor;
    return eval_dropless ? std::nullopt : eval_factor ? eval_factor : factor;
  }
};

void describe(Fields& fields, CapacityOptions& options);

}  // namespace switchyard
