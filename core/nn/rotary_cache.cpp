#include "core/nn/rotary_cache.h"

namespace switchyard {

const RotaryTables& RotaryCache::tables_for(const at::Tensor& x) {
  const auto dtype = x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
  const at::Tensor& cosine = tables_.cos_LC;
  if (!cosine.defined() || cosine.scalar_type() != dtype || cosine.device() != x.device()) {
    const RotaryTables made = make_rotary_tables(positions_, width_, theta_, dtype);
    tables_ = {made.cos_LC.to(x.device()), made.sin_LC.to(x.device())};
  }
  return tables_;
}

}  // namespace switchyard
