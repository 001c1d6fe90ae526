#include "core/base/step_value.h"

#include <iterator>
#include <utility>

#include "core/base/error.h"

namespace switchyard {

StepValue::StepValue(std::map<int64_t, double> pieces) : pieces_(std::move(pieces)) {
  SWITCHYARD_CHECK(!pieces_.empty() && pieces_.begin()->first == 0,
                   "a value by step must begin at step 0");
}

double StepValue::at(int64_t step) const {
  SWITCHYARD_CHECK(step >= 0, "step {}", step);
  return std::prev(pieces_.upper_bound(step))->second;
}

}  // namespace switchyard
