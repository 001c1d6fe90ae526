#include "core/moe/balance_term.h"

namespace switchyard {

at::Tensor BalanceTerm::counts(const at::Tensor&) const {
  return {};
}

at::Tensor BalanceTerm::weight_value(const at::Tensor&) const {
  return {};
}

}  // namespace switchyard
