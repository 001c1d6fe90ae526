#include "core/nn/init.h"

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

void init_normal(at::Tensor weight, uint64_t seed, const std::string& name, double std) {
  fill_normal_(weight, chain_of(seed, name), std, 0);
}

void init_truncated_normal(at::Tensor weight, uint64_t seed, const std::string& name, double std) {
  fill_trunc_normal_(weight, chain_of(seed, name), std, 0);
}

}  // namespace switchyard
