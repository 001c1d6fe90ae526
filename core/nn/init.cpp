#include "core/nn/init.h"

#include <cmath>

#include "core/base/counter_rng.h"
#include "core/kernels/counter_uniform.h"

namespace switchyard {
namespace {

uint64_t chain_of(uint64_t seed, const std::string& name) {
  uint64_t chain = hash({seed, static_cast<uint64_t>(RandomStream::kWeights)});
  for (const char c : name) chain = hash_more(chain, static_cast<unsigned char>(c));
  return chain;
}

}  // namespace

void init_weight(const at::Tensor& weight, uint64_t seed, const std::string& name,
                 const WeightInit& init) {
  const double std = init.fan_in ? std::sqrt(0.1 / static_cast<double>(weight.size(-1))) : init.std;
  const auto fill = init.truncated || init.fan_in ? fill_trunc_normal_ : fill_normal_;
  fill(weight, chain_of(seed, name), std, 0);
}

}  // namespace switchyard
