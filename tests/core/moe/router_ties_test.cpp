#include <catch2/catch.hpp>
#include <string>

#include "core/kernels/counter_uniform.h"
#include "core/moe/routers/random.h"
#include "tests/support/routing.h"

// Equal scores go to the lower expert, and scores at the ends of the number range stay numbers.

namespace switchyard {
namespace {

using test::router_options;

RoutingDecision decide(const MoEOptions& moe, const at::Tensor& logits_TE, bool training,
                       const at::Tensor& bias_E = {}) {
  RoutingContext context;
  context.training = training;
  RouterInputs inputs;
  inputs.logits_TE = logits_TE;
  return make_router(moe)->decide(inputs, bias_E, context);
}

TEST_CASE("One token with equal logits goes to the first experts, whatever their number") {
  const std::string score = GENERATE("softmax", "sigmoid", "sqrtsoftplus");
  const auto dtype = GENERATE(at::kFloat, at::kDouble);
  for (int64_t E = 3; E <= 48; ++E) {
    MoEOptions moe = router_options("top_k", E, 2);
    moe.router.score = score;
    at::manual_seed(E);
    for (int trial = 0; trial < 8; ++trial) {
      const at::Tensor logits_TE = at::randn({1, 1}, dtype).mul_(5).expand({1, E}).contiguous();
      INFO(score << ", E " << E << ", logit " << logits_TE[0][0].item<double>());
      REQUIRE(test::ids(decide(moe, logits_TE, false)) == std::vector<int64_t>{0, 1});
    }
  }
}

TEST_CASE("Experts with equal logits stay equal under sinkhorn: the lower one is taken") {
  const int64_t E = GENERATE(7, 12, 60);
  for (int seed = 0; seed < 3; ++seed) {
    at::manual_seed(seed);
    at::Tensor logits_TE = at::randn({256, E}, at::kDouble);
    logits_TE.select(1, E - 1).copy_(logits_TE.select(1, 0));
    const RoutingDecision decision = decide(router_options("sinkhorn", E, 1), logits_TE, true);
    CHECK(decision.counts_E[E - 1].item<int64_t>() == 0);
  }
}

TEST_CASE("gshard weighs experts of probability 0 by 0, not by NaN") {
  const at::Tensor logits_TE = at::tensor({200.0f, 0.0f, -1.0f, 5.0f}).reshape({1, 4});
  const at::Tensor bias_E = at::tensor({-1.5f, 0.0f, 0.0f, 0.0f});
  const RoutingDecision decision = decide(router_options("gshard", 4, 2), logits_TE, false, bias_E);
  CHECK(test::ids(decision) == std::vector<int64_t>{1, 2});
  CHECK(decision.weights_TK.eq(0).all().item<bool>());
}

TEST_CASE("gshard compares its second gate with U in fp64, in fp32 training as well") {
  constexpr int64_t kTokens = 4000;
  RoutingContext context;
  context.training = true;
  const at::Tensor u_T =
      draw(context, RandomStream::kSecondExpert, kTokens, 1, at::TensorOptions().dtype(at::kDouble))
          .reshape({kTokens});
  // 2 g₂ is U rounded to fp32: above it half of the time, where a U in fp32 would never be below.
  const at::Tensor second_T = u_T.to(at::kFloat) / 2;
  const at::Tensor logits_TE = at::stack({at::log(1 - second_T), at::log(second_T)}, 1);
  const RoutingDecision decision = decide(router_options("gshard", 2, 2), logits_TE, true);
  const at::Tensor gates_TE = at::softmax(logits_TE, -1);
  const at::Tensor second_weight_T =
      gates_TE.select(1, 1) / (gates_TE.sum(-1) + 1e-20f);  // the second choice: 2 g₂ < 1
  const at::Tensor wanted_T = (second_weight_T.to(at::kDouble) * 2).gt(u_T);
  CHECK(at::equal(decision.expert_ids_TK.select(1, 1).ge(0), wanted_T));
  CHECK(at::ne(wanted_T, (second_weight_T * 2).gt(u_T.to(at::kFloat))).sum().item<int64_t>() > 0);
}

TEST_CASE("A score that underflows has a gradient of 0, not of NaN") {
  MoEOptions moe = router_options("top_k", 4, 2);
  moe.router.score = "sqrtsoftplus";
  at::Tensor logits_TE = at::tensor({1.0f, 0.5f, 0.0f, -120.0f}).reshape({1, 4}).requires_grad_();
  const RoutingDecision decision = decide(moe, logits_TE, true);
  decision.probs_TE.square().sum().backward();
  CHECK(logits_TE.grad().isfinite().all().item<bool>());
}

}  // namespace
}  // namespace switchyard
