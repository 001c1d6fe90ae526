#include "parallel/data/gradient_reduction.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>

#include "parallel/comm/thread_communicator.h"
#include "tests/support/expect.h"
#include "tests/support/largest.h"

using namespace switchyard;

namespace {

at::Tensor numbers(int64_t numel, uint64_t seed, at::ScalarType dtype = at::kDouble) {
  auto generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  return at::randn({numel}, generator, at::kDouble).to(dtype);
}

}  // namespace

TEST_CASE("dense gradients are summed over all ranks, expert gradients over the replicas") {
  const int ranks = GENERATE(1, 2, 4, 6);
  for (const int expert_size : expert_sizes(ranks)) {
    DYNAMIC_SECTION(ranks << " ranks, expert axis " << expert_size) {
      run_ranks(ranks, [&](Communicator& world) {
        const Mesh mesh(world, expert_size);
        GradientBucket dense{numbers(101, 1 + world.rank()), false};
        GradientBucket expert{numbers(37, 100 + world.rank()), true};
        GradientBucket empty{numbers(0, 1), false};
        at::Tensor dense_sum = at::zeros({101}, at::kDouble),
                   expert_sum = at::zeros({37}, at::kDouble);
        for (int r = 0; r < ranks; ++r) dense_sum += numbers(101, 1 + r);
        for (int r = world.rank() % expert_size; r < ranks; r += expert_size)
          expert_sum += numbers(37, 100 + r);
        GradientReduction reduction(mesh);
        reduction.start(expert);
        reduction.start(empty);
        reduction.start(dense);
        reduction.finish();
        EXPECT(at::equal(dense.flat, dense_sum));
        EXPECT(at::equal(expert.flat, expert_sum));
        reduction.finish();
        EXPECT(at::equal(dense.flat, dense_sum));
      });
    }
  }
}

namespace {

// Twelve experts, one flat bucket per rank, and two dense buckets, one shorter than the ranks.
struct Gradients {
  static constexpr int64_t kExpertSize = 11;
  at::Tensor dense, small, experts;

  explicit Gradients(at::ScalarType dtype)
      : dense(numbers(300'007, 1, dtype)),
        small(numbers(2, 2, dtype)),
        experts(numbers(12 * kExpertSize, 3, dtype)) {}

  double squared_norm() const {
    double sum = 0;
    for (const auto& part : {dense, small, experts})
      sum += part.to(at::kDouble).square().sum().item<double>();
    return sum;
  }
  // What each rank gets.
  std::vector<double> squared_norms(int ranks, int expert_size) const {
    std::vector<double> norms(static_cast<size_t>(ranks));
    run_ranks(ranks, [&](Communicator& world) {
      const Mesh mesh(world, expert_size);
      const int64_t share = 12 / expert_size * kExpertSize;
      const at::Tensor mine = experts.narrow(0, mesh.expert_group().rank() * share, share);
      norms[static_cast<size_t>(world.rank())] = GradientReduction(mesh).global_squared_norm(
          {{dense, false}, {mine, true}, {small, false}});
    });
    return norms;
  }
};

}  // namespace

TEST_CASE("traps: the gradient norm counts each expert once") {
  test::Largest worst;
  for (const auto dtype : {at::kFloat, at::kDouble}) {
    const Gradients gradients(dtype);
    const double expected = gradients.squared_norm();
    for (const int ranks : {1, 2, 3, 4, 6})
      for (const int expert_size : expert_sizes(ranks)) {
        CAPTURE(dtype, ranks, expert_size);
        const auto norms = gradients.squared_norms(ranks, expert_size);
        worst.see((norms[0] - expected) / expected);
        for (const double norm : norms) CHECK(norm == norms[0]);
      }
  }
  CHECK(worst.value() < 1e-13);
  worst.print("traps: the squared gradient norm, relative");
}

TEST_CASE("the squared norm of float32 gradients does not overflow") {
  run_ranks(2, [](Communicator& world) {
    const Mesh mesh(world, 1);
    const at::Tensor huge = at::full({4}, 1e30, at::kFloat);
    const double value = GradientReduction(mesh).global_squared_norm({{huge, false}});
    EXPECT(std::abs(value / 4e60 - 1) < 1e-6);
    EXPECT(std::isnan(
        GradientReduction(mesh).global_squared_norm({{at::full({3}, NAN, at::kFloat), false}})));
    EXPECT(GradientReduction(mesh).global_squared_norm({}) == 0);
  });
}
