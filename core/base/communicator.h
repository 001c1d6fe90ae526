#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace switchyard {

/// Handle of a started collective. wait() returns when the outputs may be read and the inputs
/// reused; waiting again does nothing. Destroying an unfinished handle waits.
class Work {
 public:
  virtual ~Work() = default;
  virtual void wait() = 0;
};
using WorkPtr = std::unique_ptr<Work>;

/// A handle with nothing left to do.
WorkPtr finished_work();

enum class ReduceOp { kSum, kMin, kMax };

/// A group of ranks. Every member calls the same collectives in the same order with tensors of the
/// same dtype; the calls return at once or after completion, and `wait()` on the returned handle is
/// always needed. Tensors must be contiguous; the handle keeps them alive. Failures throw
/// CommError, which names rank, operation and the backend's text. A collective on a CUDA tensor is
/// ordered after the work already queued on the current stream, and wait() orders the current
/// stream after it.
///
/// Tensors are float32, float64, bfloat16, int64, uint8 or bool. Sums are formed in a fixed order
/// that depends on the number of ranks alone: the same inputs give the same bits on every rank and
/// in every run. bfloat16 is summed in float32 and rounded once; the sum and the maximum of bools
/// is "any", the minimum "all".
class Communicator {
 public:
  using Tensors = std::vector<at::Tensor>;

  virtual ~Communicator() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// "local", "thread", "mpi" or "nccl".
  virtual std::string backend() const = 0;

  /// Collective. Ranks with equal `color` form a new group, ordered by `key`, then by rank here.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;
  /// Collective. Returns when every rank has called it.
  virtual void barrier() = 0;

  /// Copies root's tensors to all ranks, in place.
  virtual WorkPtr broadcast(Tensors tensors, int root) = 0;
  /// Reduces element by element over all ranks, in place; the result is the same on every rank.
  virtual WorkPtr all_reduce(Tensors tensors, ReduceOp op) = 0;
  /// outputs[i] has shape [size(), inputs[i].sizes()...]; row r receives rank r's tensor.
  virtual WorkPtr all_gather(Tensors outputs, Tensors inputs) = 0;
  /// inputs[i] has shape [size(), outputs[i].sizes()...]; outputs[i] receives the sum of row
  /// rank().
  virtual WorkPtr reduce_scatter(Tensors outputs, Tensors inputs) = 0;
  /// For each i: rows of inputs[i] (dim 0) go out in rank order, send_rows[r] of them to rank r,
  /// and outputs[i] receives receive_rows[r] rows from rank r, in rank order. Rows of inputs[i] and
  /// outputs[i] have equal shape. Zero rows are allowed, more than 2^31 elements too.
  virtual WorkPtr all_to_all_v(Tensors outputs, Tensors inputs, std::vector<int64_t> receive_rows,
                               std::vector<int64_t> send_rows) = 0;
  /// Point to point; the pair must agree on `tag` (from 0) and on every tensor's size. Messages of
  /// one pair and tag arrive in the order sent.
  virtual WorkPtr send(Tensors tensors, int to, int tag) = 0;
  virtual WorkPtr receive(Tensors tensors, int from, int tag) = 0;
};

/// Collective. Concatenates every rank's rows (dim 0, counts may differ or be zero) in rank order.
at::Tensor gather_rows(Communicator& comm, const at::Tensor& rows);

/// Collective. Root's text on every rank.
std::string broadcast_text(Communicator& comm, const std::string& text, int root = 0);

/// Collective. Throws on every rank the error of the lowest rank whose `text` is not empty, with
/// the exit code given by that rank: an error on one rank ends all of them with one message.
void agree_on_error(Communicator& comm, const std::string& text, int code);

}  // namespace switchyard
