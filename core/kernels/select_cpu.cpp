#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>

#include <limits>
#include <vector>

#include "core/base/error.h"
#include "core/kernels/select.h"

namespace switchyard {
namespace {

// Keeps the k best in order by insertion. Indices rise, so an equal key goes behind.
template <class T>
void select_row(const T* keys, int64_t num_keys, int64_t k, T* best, int64_t* ids) {
  int64_t filled = 0;
  for (int64_t i = 0; i < num_keys; ++i) {
    const T key = keys[i] == keys[i] ? keys[i] : -std::numeric_limits<T>::infinity();
    if (filled == k && !(key > best[k - 1])) continue;
    int64_t place = filled < k ? filled++ : k - 1;
    for (; place > 0 && key > best[place - 1]; --place) {
      best[place] = best[place - 1];
      ids[place] = ids[place - 1];
    }
    best[place] = key;
    ids[place] = i;
  }
}

template <class T>
void select_rows(const at::Tensor& keys_TE, int64_t k, at::Tensor& ids_TK) {
  const T* keys = keys_TE.const_data_ptr<T>();
  int64_t* ids = ids_TK.mutable_data_ptr<int64_t>();
  const int64_t E = keys_TE.size(1);
  at::parallel_for(0, keys_TE.size(0), 256, [&](int64_t begin, int64_t end) {
    std::vector<T> best(static_cast<size_t>(k));
    for (int64_t t = begin; t < end; ++t) select_row(keys + t * E, E, k, best.data(), ids + t * k);
  });
}

}  // namespace

at::Tensor select_top_k(const at::Tensor& keys_TE, int64_t k) {
  SWITCHYARD_CHECK(keys_TE.dim() == 2 && k >= 0 && k <= keys_TE.size(1), "k {} of {} keys", k,
                   keys_TE.size(-1));
  if (!keys_TE.is_cpu()) return reference::select_top_k(keys_TE, k);
  const at::Tensor keys = keys_TE.detach().contiguous();
  at::Tensor ids_TK = at::empty({keys.size(0), k}, keys.options().dtype(at::kLong));
  if (k == 0) return ids_TK;
  AT_DISPATCH_FLOATING_TYPES(keys.scalar_type(), "select_top_k",
                             [&] { select_rows<scalar_t>(keys, k, ids_TK); });
  return ids_TK;
}

}  // namespace switchyard
