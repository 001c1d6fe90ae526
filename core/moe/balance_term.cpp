#include "core/moe/balance_term.h"

namespace switchyard {

at::Tensor BalanceTerm::counts(const at::Tensor&) const {
  return {};
}

}  // namespace switchyard
