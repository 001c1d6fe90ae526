#include "core/moe/routers/hash_router.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "core/base/counter_rng.h"
#include "core/base/error.h"

namespace switchyard {
namespace {

constexpr uint64_t kRandomTable = 41, kBigramTable = 43;

class HashRouter final : public Router {
 public:
  HashRouter(const MoEOptions& options, const RouterResources& resources)
      : kind_(options.router.table),
        num_experts_(options.num_experts),
        top_k_(options.top_k),
        vocab_size_(resources.vocab_size) {
    if (kind_ == "balanced" && resources.token_counts_V.defined())
      table_VK_ = balanced_table(resources.token_counts_V, num_experts_, top_k_);
  }

  RoutingDecision decide(const RouterInputs& inputs, const at::Tensor&,
                         const RoutingContext& context) const override {
    SWITCHYARD_CHECK(context.token_ids_T.defined(), "a hash router needs the token ids");
    const at::Tensor& device_ids_T = context.token_ids_T;
    const at::Tensor ids_T = device_ids_T.to(at::kCPU, at::kLong).contiguous();
    RoutingDecision decision;
    decision.expert_ids_TK =
        (kind_ == "balanced" ? look_up(ids_T) : hashed(ids_T, context)).to(device_ids_T.device());
    const auto options = at::TensorOptions().dtype(inputs.dtype).device(device_ids_T.device());
    decision.weights_TK =
        at::full({ids_T.size(0), top_k_}, 1.0 / static_cast<double>(top_k_), options);
    decision.counts_E = count_experts(decision.expert_ids_TK, num_experts_);
    return decision;
  }

  int64_t logit_columns(int64_t) const override { return 0; }
  at::Tensor table() const override { return table_VK_; }

 private:
  at::Tensor look_up(const at::Tensor& ids_T) const {
    SWITCHYARD_CHECK(table_VK_.defined(), "the balanced table needs token counts");
    return table_VK_.index_select(0, ids_T);
  }

  at::Tensor hashed(const at::Tensor& ids_T, const RoutingContext& context) const {
    const bool bigram = kind_ == "bigram";
    SWITCHYARD_CHECK(!bigram || vocab_size_ > 0, "the bigram table needs the vocabulary's size");
    const int64_t T = ids_T.size(0);
    const int64_t length = context.sequence_length > 0 ? context.sequence_length : T;
    const int64_t* ids = ids_T.const_data_ptr<int64_t>();
    at::Tensor experts_TK = at::empty({T, top_k_}, ids_T.options());
    int64_t* out = experts_TK.mutable_data_ptr<int64_t>();
    for (int64_t t = 0; t < T; ++t) {
      uint64_t chain = hash({context.seed, bigram ? kBigramTable : kRandomTable});
      if (bigram)
        chain = hash_more(chain, static_cast<uint64_t>(t % length ? ids[t - 1] : vocab_size_));
      first_distinct(hash_more(chain, static_cast<uint64_t>(ids[t])), out + t * top_k_);
    }
    return experts_TK;
  }

  void first_distinct(uint64_t chain, int64_t* out) const {
    int64_t found = 0;
    for (uint64_t j = 0; found < top_k_; ++j) {
      const auto expert =
          static_cast<int64_t>(hash_more(chain, j) % static_cast<uint64_t>(num_experts_));
      if (std::find(out, out + found, expert) == out + found) out[found++] = expert;
    }
  }

  std::string kind_;
  int64_t num_experts_, top_k_, vocab_size_;
  at::Tensor table_VK_;
};

}  // namespace

at::Tensor balanced_table(const at::Tensor& token_counts_V, int64_t num_experts, int64_t top_k) {
  const at::Tensor counts_V = token_counts_V.to(at::kCPU, at::kDouble).contiguous();
  const double* counts = counts_V.const_data_ptr<double>();
  std::vector<int64_t> by_frequency(static_cast<size_t>(counts_V.size(0)));
  std::iota(by_frequency.begin(), by_frequency.end(), 0);
  std::stable_sort(by_frequency.begin(), by_frequency.end(),
                   [&](int64_t a, int64_t b) { return counts[a] > counts[b]; });
  std::vector<double> load(static_cast<size_t>(num_experts), 0.0);
  std::vector<int64_t> by_load(load.size());
  at::Tensor table_VK = at::empty({counts_V.size(0), top_k}, at::TensorOptions().dtype(at::kLong));
  int64_t* table = table_VK.mutable_data_ptr<int64_t>();
  for (const int64_t id : by_frequency) {
    std::iota(by_load.begin(), by_load.end(), 0);
    std::partial_sort(
        by_load.begin(), by_load.begin() + top_k, by_load.end(),
        [&](int64_t a, int64_t b) { return load[a] != load[b] ? load[a] < load[b] : a < b; });
    for (int64_t k = 0; k < top_k; ++k) {
      table[id * top_k + k] = by_load[k];
      load[by_load[k]] += counts[id];
    }
  }
  return table_VK;
}

std::unique_ptr<Router> make_hash_router(const MoEOptions& options,
                                         const RouterResources& resources) {
  return std::make_unique<HashRouter>(options, resources);
}

}  // namespace switchyard
