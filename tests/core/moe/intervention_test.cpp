#include "core/moe/routers/intervention.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>

#include "core/moe/routers/router.h"
#include "tests/support/routing.h"

namespace switchyard {
namespace {

using test::router_options;

int64_t moved(const MoEOptions& moe, const at::Tensor& logits_TE, const at::Tensor& bias_E,
              const RoutingContext& context = {}) {
  const auto decision = make_router(moe)->decide({logits_TE, {}, {}}, bias_E, context);
  REQUIRE(decision.moved.defined());
  return decision.moved.item<int64_t>();
}

}  // namespace

TEST_CASE("moved choices are those that the other selection lacks, in any order",
          "[intervention]") {
  const auto ids = [](std::vector<int64_t> values) {
    return torch::tensor(values, torch::kLong).view({3, 2});
  };
  CHECK(count_moved(ids({0, 1, 2, 3, 4, 5}), ids({1, 0, 2, 3, 5, 4})).item<int64_t>() == 0);
  CHECK(count_moved(ids({0, 1, 2, 3, 4, 5}), ids({1, 2, 2, 4, 0, 1})).item<int64_t>() == 4);
  CHECK(
      count_moved(ids({0, 1, 2, 3, 4, 5}).narrow(0, 0, 0), ids({0, 1, 2, 3, 4, 5}).narrow(0, 0, 0))
          .item<int64_t>() == 0);
}

TEST_CASE("a router counts what its bias moves", "[intervention]") {
  // Softmax of these rows keeps their order: the best two are {0, 1}, {2, 0}, {3, 2}.
  const auto logits_TE =
      torch::tensor({3.0, 2.0, 1.0, 0.0, 2.0, 0.0, 3.0, 1.0, 0.0, 1.0, 2.0, 3.0}).view({3, 4});
  const auto top_2 = router_options("top_k", 4, 2);
  CHECK(moved(top_2, logits_TE, torch::zeros({4})) == 0);
  // Expert 3 comes first everywhere: it replaces 1 and 0, and was there already.
  CHECK(moved(top_2, logits_TE, torch::tensor({0.0, 0.0, 0.0, 1.0})) == 2);
  CHECK_FALSE(make_router(top_2)->decide({logits_TE, {}, {}}, {}, {}).moved.defined());

  SECTION("groups limit both selections") {
    auto grouped = router_options("deepseek_v3", 4, 2);
    grouped.router.groups = 2;
    grouped.router.kept_groups = 1;
    // Without a bias the groups {0, 1}, {2, 3}, {2, 3}; expert 1 raised by 1: {0, 1} three times.
    CHECK(moved(grouped, logits_TE, torch::zeros({4})) == 0);
    CHECK(moved(grouped, logits_TE, torch::tensor({0.0, 1.0, 0.0, 0.0})) == 4);
  }
  SECTION("a second expert refused by chance was not moved by the bias") {
    RoutingContext training;
    training.training = true;
    CHECK(moved(router_options("gshard", 4, 2), logits_TE, torch::zeros({4}), training) == 0);
  }
}

}  // namespace switchyard
