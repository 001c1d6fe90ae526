#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>

#include "core/data/batch.h"

namespace switchyard {

/// How a step's sequences are cut into micro-batches and dealt to ranks.
struct LoaderGeometry {
  int64_t sequences_per_step = 1;  ///< a multiple of micro_sequences
  int64_t micro_sequences = 1;     ///< over all ranks; at least num_ranks
  int64_t sequence_length = 128;
  int64_t rank = 0, num_ranks = 1;

  int64_t micro_batches() const { return sequences_per_step / micro_sequences; }
};

/// Hands out this rank's share of every micro-batch, in order: micro-batch m of a step holds its
/// sequences [m·M, (m+1)·M), of which each rank gets its block_of(). One thread prepares the next
/// micro-batches meanwhile. The stream depends on the step alone, so that a resumed run goes on
/// with the same bits. For one consumer thread; the source must outlive the loader.
class Loader {
 public:
  /// Throws ConfigError for a geometry that no rank layout can split.
  Loader(const TokenSource& source, const LoaderGeometry& geometry, int64_t first_step);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next micro-batch; waits for it. Rethrows what the source threw while preparing it, and
  /// again at every later call until seek().
  Batch next();
  /// Goes to the first micro-batch of a step, forgetting what was prepared.
  void seek(int64_t step);
  /// Step of the micro-batch that next() returns.
  int64_t step() const { return step_; }
  const LoaderGeometry& geometry() const { return geometry_; }
  /// Scored targets of one step over all ranks.
  int64_t scored_tokens_per_step() const;

 private:
  void start();
  void stop();
  void prepare();

  const TokenSource& source_;
  LoaderGeometry geometry_;
  int64_t step_, micro_ = 0;  ///< position of next()

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> ready_;
  std::exception_ptr error_;
  bool stopping_ = false;
  std::thread thread_;
};

/// This rank's block of training micro-batch `micro` of a step, or of its first `count` sequences.
Batch training_batch(const TokenSource& source, const LoaderGeometry& geometry, int64_t step,
                     int64_t micro, std::optional<int64_t> count = {});

/// This rank's block of the validation sequences [first, first + count); first_sequence is the
/// number of its row 0. The block may be empty.
Batch evaluation_batch(const TokenSource& source, const LoaderGeometry& geometry, int64_t first,
                       int64_t count);

}  // namespace switchyard
