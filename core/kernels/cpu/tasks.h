#pragma once

#include <ATen/Parallel.h>
#include <ATen/core/LegacyTypeDispatch.h>

#include <atomic>
#include <cstdint>

namespace switchyard {

/// Calls f(i, thread) for each i in [0, num_tasks), spread over the threads as they become free;
/// LibTorch calls inside f run on one thread and record no gradients; `thread` is below
/// at::get_num_threads(). Results do not depend on the number of threads as long as each task
/// writes to places of its own.
template <class F>
void for_each_task(int64_t num_tasks, const F& f) {
  std::atomic<int64_t> next{0};
  at::parallel_for(0, at::get_num_threads(), 1, [&](int64_t, int64_t) {
    const at::AutoDispatchBelowADInplaceOrView no_autograd;
    for (int64_t i = next++; i < num_tasks; i = next++) f(i, at::get_thread_num());
  });
}

}  // namespace switchyard
