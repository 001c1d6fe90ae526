#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iostream>
#include <string>

namespace switchyard::test {

/// d, or infinity where it is none: std::max would lose a NaN.
inline double or_infinite(double d) {
  return std::isfinite(d) ? d : INFINITY;
}

/// The largest of the differences seen. One that is not finite counts as infinite and stays.
class Largest {
 public:
  void see(double difference) {
    value_ = std::max(value_, or_infinite(std::abs(difference)));
    ++seen_;
  }
  double value() const { return value_; }
  /// "WHAT: largest difference 1e-15 of 12" on standard output.
  void print(const std::string& what) const {
    std::cout << what << ": largest difference " << value_ << " of " << seen_ << "\n";
  }

 private:
  double value_ = 0;
  int64_t seen_ = 0;
};

}  // namespace switchyard::test
