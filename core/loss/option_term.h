#pragma once

#include <string>

#include "core/moe/balance_term.h"
#include "core/moe/options.h"

namespace switchyard {

/// A term whose name and coefficient are those written in `moe.balance`.
class OptionTerm : public BalanceTerm {
 public:
  explicit OptionTerm(const BalanceOptions& options) : options_(options) {}
  double coefficient(const StepCoefficients& now) const override {
    return options_.coef.at(now.step);
  }
  const std::string& name() const override { return options_.type; }

 protected:
  BalanceOptions options_;
};

}  // namespace switchyard
