#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

class Fields;

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

void describe(Fields& fields, CapacityOptions& options);

}  // namespace switchyard
