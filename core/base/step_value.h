#pragma once

#include <cstdint>
#include <map>

namespace switchyard {

/// A number that may change at given steps, and is constant between them.
class StepValue {
 public:
  /// The same at every step. Implicit, so that a plain number is a StepValue.
  StepValue(double value = 0) : pieces_{{0, value}} {}
  /// From each of these steps on, its value; the first step must be 0.
  explicit StepValue(std::map<int64_t, double> pieces);

  /// The value in force at `step` ≥ 0.
  double at(int64_t step) const;
  bool is_constant() const { return pieces_.size() == 1; }
  /// First step → value, by rising step.
  const std::map<int64_t, double>& pieces() const { return pieces_; }

 private:
  std::map<int64_t, double> pieces_;
};

}  // namespace switchyard
