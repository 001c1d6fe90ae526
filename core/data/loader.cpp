#include "core/data/loader.h"

#include <ATen/ops/empty.h>

#include "core/base/error.h"
#include "core/base/partition.h"

namespace switchyard {
namespace {

constexpr size_t kPrepared = 4;

Batch empty_batch(int64_t sequences, int64_t length) {
  Batch batch;
  batch.tokens_BL = at::empty({sequences, length}, at::kLong);
  batch.targets_BL = at::empty({sequences, length}, at::kLong);
  batch.domain_BL = at::empty({sequences, length}, at::kLong);
  return batch;
}

/// Fills row after row by `read(row, where)`.
template <class Read>
void fill_rows(Batch& batch, Read read) {
  const int64_t length = batch.tokens_BL.size(1);
  auto* tokens = batch.tokens_BL.mutable_data_ptr<int64_t>();
  auto* targets = batch.targets_BL.mutable_data_ptr<int64_t>();
  auto* domains = batch.domain_BL.mutable_data_ptr<int64_t>();
  for (int64_t first = 0, row = 0; row < batch.tokens_BL.size(0); ++row, first += length)
    read(row, SequenceOut{tokens + first, targets + first, domains + first});
}

void check(const LoaderGeometry& g) {
  if (g.sequences_per_step % g.micro_sequences != 0) {
    throw ConfigError(
        fmt::format("train.sequences_per_step {} is not a multiple of train.micro_sequences {}",
                    g.sequences_per_step, g.micro_sequences));
  }
  if (g.micro_sequences < g.num_ranks) {
    throw ConfigError(fmt::format(
        "train.micro_sequences {} is less than the {} ranks: each needs at least one sequence",
        g.micro_sequences, g.num_ranks));
  }
}

}  // namespace

Batch training_batch(const TokenSource& source, const LoaderGeometry& geometry, int64_t step,
                     int64_t micro, std::optional<int64_t> count) {
  const Share block =
      block_of(geometry.rank, geometry.num_ranks, count.value_or(geometry.micro_sequences));
  Batch batch = empty_batch(block.count, geometry.sequence_length);
  batch.step = step;
  batch.first_sequence = micro * geometry.micro_sequences + block.first;
  fill_rows(batch, [&](int64_t row, const SequenceOut& out) {
    source.training_sequence(step, batch.first_sequence + row, geometry.sequence_length, out);
  });
  return batch;
}

Batch evaluation_batch(const TokenSource& source, const LoaderGeometry& geometry, int64_t first,
                       int64_t count) {
  const Share block = block_of(geometry.rank, geometry.num_ranks, count);
  Batch batch = empty_batch(block.count, geometry.sequence_length);
  batch.first_sequence = first + block.first;
  fill_rows(batch, [&](int64_t row, const SequenceOut& out) {
    source.validation_sequence(batch.first_sequence + row, geometry.sequence_length, out);
  });
  return batch;
}

Loader::Loader(const TokenSource& source, const LoaderGeometry& geometry, int64_t first_step)
    : source_(source), geometry_(geometry), step_(first_step) {
  check(geometry);
  start();
}

Loader::~Loader() {
  stop();
}

int64_t Loader::scored_tokens_per_step() const {
  return geometry_.sequences_per_step * source_.scored_tokens(geometry_.sequence_length);
}

void Loader::start() {
  stopping_ = false;
  thread_ = std::thread([this] { prepare(); });
}

void Loader::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
  ready_.clear();
  error_ = nullptr;
}

void Loader::prepare() {
  // The position is this thread's own: next() moves step_ and micro_ meanwhile.
  int64_t step = 0;
  int64_t micro = 0;
  {
    const std::lock_guard lock(mutex_);
    step = step_;
    micro = micro_;
  }
  try {
    while (true) {
      Batch batch = training_batch(source_, geometry_, step, micro);
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return stopping_ || ready_.size() < kPrepared; });
      if (stopping_) return;
      ready_.push_back(std::move(batch));
      lock.unlock();
      changed_.notify_all();
      if (++micro == geometry_.micro_batches()) {
        micro = 0;
        ++step;
      }
    }
  } catch (...) {
    const std::lock_guard lock(mutex_);
    error_ = std::current_exception();
    changed_.notify_all();
  }
}

Batch Loader::next() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !ready_.empty() || error_ != nullptr; });
  if (ready_.empty()) std::rethrow_exception(error_);
  Batch batch = std::move(ready_.front());
  ready_.pop_front();
  if (++micro_ == geometry_.micro_batches()) {
    micro_ = 0;
    ++step_;
  }
  lock.unlock();
  changed_.notify_all();
  return batch;
}

void Loader::seek(int64_t step) {
  stop();
  step_ = step;
  micro_ = 0;
  start();
}

}  // namespace switchyard
