#include "core/moe/column_quantile.h"

#include <ATen/ATen.h>

#include <cstring>
#include <type_traits>

#include "core/base/error.h"

namespace switchyard {
namespace {

constexpr int kDigits = 256;

// Unsigned integers in the order of the floats: the sign bit flipped, or every bit of negatives.
template <class Float>
struct Ordered {
  using Bits = std::conditional_t<sizeof(Float) == 4, uint32_t, uint64_t>;
  static constexpr Bits kSign = Bits{1} << (8 * sizeof(Float) - 1);

  static Bits bits(Float value) {
    Bits bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits & kSign ? static_cast<Bits>(~bits) : static_cast<Bits>(bits | kSign);
  }
  static Float value(Bits bits) {
    bits = bits & kSign ? static_cast<Bits>(bits & ~kSign) : static_cast<Bits>(~bits);
    Float value;
    std::memcpy(&value, &bits, sizeof bits);
    return value;
  }
};

template <class Float>
at::Tensor select_columns(const std::vector<at::Tensor>& blocks, int64_t k, Communicator* comm) {
  using Bits = typename Ordered<Float>::Bits;
  const int64_t E = blocks.front().size(1);
  std::vector<Bits> prefix(static_cast<size_t>(E), 0);
  std::vector<int64_t> rank(static_cast<size_t>(E), k);
  Bits known = 0;  // bits of the prefix that are settled
  for (int shift = 8 * (static_cast<int>(sizeof(Float)) - 1); shift >= 0; shift -= 8) {
    at::Tensor counts_ED = at::zeros({E, kDigits}, at::kLong);
    int64_t* counts = counts_ED.data_ptr<int64_t>();
    for (const at::Tensor& block : blocks) {
      const Float* values = block.const_data_ptr<Float>();
      for (int64_t i = 0; i < block.numel(); ++i) {
        const int64_t e = i % E;
        const Bits bits = Ordered<Float>::bits(values[i]);
        if ((bits & known) == prefix[static_cast<size_t>(e)])
          ++counts[e * kDigits + static_cast<int64_t>((bits >> shift) & 0xFF)];
      }
    }
    if (comm) comm->all_reduce({counts_ED}, ReduceOp::kSum)->wait();
    for (int64_t e = 0; e < E; ++e) {
      int64_t digit = kDigits - 1;
      int64_t& left = rank[static_cast<size_t>(e)];
      for (; digit > 0 && counts[e * kDigits + digit] < left; --digit)
        left -= counts[e * kDigits + digit];
      prefix[static_cast<size_t>(e)] |= static_cast<Bits>(static_cast<Bits>(digit) << shift);
    }
    known |= static_cast<Bits>(Bits{0xFF} << shift);
  }
  at::Tensor result_E = at::empty({E}, blocks.front().options());
  for (int64_t e = 0; e < E; ++e)
    result_E.data_ptr<Float>()[e] = Ordered<Float>::value(prefix[static_cast<size_t>(e)]);
  return result_E;
}

}  // namespace

at::Tensor column_kth_largest(const std::vector<at::Tensor>& blocks, int64_t k,
                              Communicator* communicator) {
  SWITCHYARD_CHECK(!blocks.empty() && k >= 1, "rank {} of {} blocks", k, blocks.size());
  std::vector<at::Tensor> local;
  for (const at::Tensor& block : blocks) local.push_back(block.detach().cpu().contiguous());
  return local.front().scalar_type() == at::kDouble ? select_columns<double>(local, k, communicator)
                                                    : select_columns<float>(local, k, communicator);
}

}  // namespace switchyard
