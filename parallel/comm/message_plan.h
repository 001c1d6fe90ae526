#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "core/base/communicator.h"

namespace switchyard {

/// `data` (contiguous) goes to or comes from rank `peer`, which is another rank.
struct Message {
  int peer;
  at::Tensor data;
};

/// Messages that may travel at the same time, and what to do once they have. Between two ranks the
/// n-th send of a stage meets the n-th receive.
struct Stage {
  std::vector<Message> sends, receives;
  std::function<void()> then;
};
using Stages = std::vector<Stage>;

/// A rank's place in its group.
struct Place {
  int rank, size;
};

// Collectives as messages, for backends that only need to carry them. Arguments are checked already
// and as in Communicator. Data travel as they are, so every dtype does, and sums are formed by the
// receiver in rank order: the bits depend on neither backend, message size nor timing.
//
// A large tensor is cut into one slice per rank: each rank collects and sums its slice, then sends
// it to all, which moves 2(N−1)/N of the tensor per rank, as little as any all-reduce (Rabenseifner
// 2004). A small one goes whole to everybody, in one stage instead of two. Broadcast does the same.

Stages plan_broadcast(Place place, const Communicator::Tensors& tensors, int root);
Stages plan_all_reduce(Place place, const Communicator::Tensors& tensors, ReduceOp op);
Stages plan_all_gather(Place place, const Communicator::Tensors& outputs,
                       const Communicator::Tensors& inputs);
Stages plan_reduce_scatter(Place place, const Communicator::Tensors& outputs,
                           const Communicator::Tensors& inputs);
Stages plan_all_to_all_v(Place place, const Communicator::Tensors& outputs,
                         const Communicator::Tensors& inputs,
                         const std::vector<int64_t>& receive_rows,
                         const std::vector<int64_t>& send_rows);

}  // namespace switchyard
