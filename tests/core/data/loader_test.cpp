#include "core/data/loader.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/equal.h>
#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/data/synthetic.h"

namespace switchyard {
namespace {

LoaderGeometry geometry(int64_t rank = 0, int64_t num_ranks = 1) {
  LoaderGeometry g;
  g.sequences_per_step = 12;
  g.micro_sequences = 6;
  g.sequence_length = 16;
  g.rank = rank;
  g.num_ranks = num_ranks;
  return g;
}

SyntheticSource corpus() {
  return {DataOptions{}, 1, 12, 6};
}

/// Fails from a given step on.
class FailingSource : public SyntheticSource {
 public:
  explicit FailingSource(int64_t bad_step)
      : SyntheticSource(DataOptions{}, 1, 12, 6), bad_step_(bad_step) {}
  void training_sequence(int64_t step, int64_t sequence, int64_t length,
                         const SequenceOut& out) const override {
    if (step >= bad_step_) throw DataError("the disk is gone");
    SyntheticSource::training_sequence(step, sequence, length, out);
  }

 private:
  int64_t bad_step_;
};

}  // namespace

TEST_CASE("the loader walks through micro-batches and steps", "[loader]") {
  const auto source = corpus();
  Loader loader(source, geometry(), 5);
  for (int64_t step = 5; step < 9; ++step) {
    for (int64_t micro = 0; micro < 2; ++micro) {
      CHECK(loader.step() == step);
      const Batch batch = loader.next();
      CHECK(batch.step == step);
      CHECK(batch.first_sequence == micro * 6);
      CHECK(batch.tokens_BL.sizes() == at::IntArrayRef{6, 16});
      for (int64_t row = 0; row < 6; ++row) {
        Sequence want(16);
        source.training_sequence(step, micro * 6 + row, 16, want.out());
        const auto holds = [row](const at::Tensor& rows_BL, const std::vector<int64_t>& values) {
          return std::equal(values.begin(), values.end(), rows_BL[row].const_data_ptr<int64_t>());
        };
        CHECK(holds(batch.domain_BL, want.domains));
        CHECK(holds(batch.tokens_BL, want.tokens));
        CHECK(holds(batch.targets_BL, want.targets));
      }
    }
  }
  CHECK(loader.scored_tokens_per_step() == 12 * 15);
}

TEST_CASE("the ranks' blocks together are the batch of one rank", "[loader]") {
  const auto source = corpus();
  const int64_t ranks = GENERATE(2, 3, 4, 6);
  const Batch whole = training_batch(source, geometry(), 3, 1);
  const Batch whole_eval = evaluation_batch(source, geometry(), 4, 5);
  std::vector<at::Tensor> tokens, targets, domains, eval_tokens;
  int64_t next = 6;
  for (int64_t rank = 0; rank < ranks; ++rank) {
    const Batch part = training_batch(source, geometry(rank, ranks), 3, 1);
    CHECK(part.first_sequence == next);
    next += part.tokens_BL.size(0);
    tokens.push_back(part.tokens_BL);
    targets.push_back(part.targets_BL);
    domains.push_back(part.domain_BL);
    eval_tokens.push_back(evaluation_batch(source, geometry(rank, ranks), 4, 5).tokens_BL);
  }
  CHECK(at::equal(at::cat(tokens), whole.tokens_BL));
  CHECK(at::equal(at::cat(targets), whole.targets_BL));
  CHECK(at::equal(at::cat(domains), whole.domain_BL));
  CHECK(at::equal(at::cat(eval_tokens), whole_eval.tokens_BL));
}

TEST_CASE("an evaluation batch holds the validation sequences asked for", "[loader]") {
  const auto source = corpus();
  const Batch batch = evaluation_batch(source, geometry(), 32, 3);
  CHECK(batch.first_sequence == 32);
  CHECK(batch.domain_BL[2].eq(34 % 16).all().item<bool>());
  CHECK(batch.tokens_BL.size(0) == 3);
  CHECK(evaluation_batch(source, geometry(3, 4), 0, 2).tokens_BL.size(0) == 0);
}

TEST_CASE("seeking gives the same batches as walking there", "[loader]") {
  const auto source = corpus();
  Loader walked(source, geometry(), 0);
  for (int i = 0; i < 7 * 2; ++i) walked.next();
  Loader sought(source, geometry(), 0);
  sought.next();
  sought.seek(7);
  CHECK(sought.step() == 7);
  const Batch a = walked.next();
  const Batch b = sought.next();
  CHECK(a.step == b.step);
  CHECK(at::equal(a.tokens_BL, b.tokens_BL));
}

TEST_CASE("an error of the source reaches the caller in its turn", "[loader]") {
  const FailingSource source(1);
  Loader loader(source, geometry(), 0);
  CHECK_NOTHROW(loader.next());
  CHECK_NOTHROW(loader.next());
  CHECK_THROWS_WITH(loader.next(), "[data] the disk is gone");
  CHECK_THROWS_AS(loader.next(), DataError);
  loader.seek(0);
  CHECK(loader.next().step == 0);
}

TEST_CASE("a loader that is not read ends cleanly", "[loader]") {
  const auto source = corpus();
  { const Loader loader(source, geometry(), 0); }
  Loader loader(source, geometry(), 0);
  loader.next();
}

TEST_CASE("geometries that cannot be split are refused", "[loader]") {
  const auto source = corpus();
  LoaderGeometry g = geometry();
  g.micro_sequences = 5;
  CHECK_THROWS_WITH(Loader(source, g, 0), Catch::Contains("not a multiple"));
  CHECK_THROWS_WITH(Loader(source, geometry(0, 7), 0), Catch::Contains("less than the 7 ranks"));
}

}  // namespace switchyard
