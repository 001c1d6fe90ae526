#include "core/model/moe_output_list.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>

#include "core/nn/recompute.h"

namespace switchyard {
namespace {

MoEOutput output_of(const at::Tensor& x, bool with_scores) {
  MoEOutput output;
  output.terms = {x.sum().reshape({1, 1}), at::Tensor(), (x * x).sum().reshape({1, 1})};
  output.decision.expert_ids_TK = at::tensor({2, 0, 1, -1}, at::kLong).view({2, 2});
  output.decision.kept_TK = output.decision.expert_ids_TK.ge(0);
  output.decision.counts_E = at::tensor({1, 1, 1}, at::kLong);
  output.work.received = at::full({}, 2, at::kLong);
  output.work.computed_E = at::tensor({1, 0, 1}, at::kLong);
  if (with_scores) output.decision.moved = at::full({}, 1, at::kLong);
  if (with_scores) output.decision.logits_TE = x * at::ones({2, 3});
  if (with_scores) output.decision.probs_TE = at::softmax(output.decision.logits_TE, 1);
  return output;
}

}  // namespace

TEST_CASE("a list brings an output back, undefined tensors included") {
  const bool with_scores = GENERATE(true, false);
  const at::Tensor x = at::full({1}, 3.0).requires_grad_();
  const MoEOutput in = output_of(x, with_scores);
  std::vector<at::Tensor> list = {at::zeros({1})};
  append_to_list(in, list);
  for (const at::Tensor& tensor : list) REQUIRE(tensor.defined());
  const MoEOutput out = from_list(list, 1, 3);

  REQUIRE(out.terms.size() == 3);
  CHECK(out.terms[0].item<float>() == 3);
  CHECK_FALSE(out.terms[1].defined());
  CHECK(out.terms[2].requires_grad());
  CHECK(out.decision.expert_ids_TK.equal(in.decision.expert_ids_TK));
  CHECK(out.decision.kept_TK.equal(in.decision.kept_TK));
  CHECK(out.decision.counts_E.equal(in.decision.counts_E));
  CHECK(out.work.received.item<int64_t>() == 2);
  CHECK(out.work.computed_E.equal(in.work.computed_E));
  CHECK(out.decision.moved.defined() == with_scores);
  CHECK(out.decision.logits_TE.defined() == with_scores);
  CHECK(out.decision.probs_TE.defined() == with_scores);
  if (with_scores) CHECK_FALSE(out.decision.probs_TE.requires_grad());
  if (with_scores) CHECK(out.decision.logits_TE.requires_grad());
}

TEST_CASE("a rank without tokens has empty tensors, which are not undefined") {
  MoEOutput in;
  in.decision.expert_ids_TK = at::zeros({0, 2}, at::kLong);
  in.decision.kept_TK = at::zeros({0, 2}, at::kBool);
  in.decision.counts_E = at::zeros({3}, at::kLong);
  in.decision.logits_TE = in.decision.probs_TE = at::zeros({0, 3});
  std::vector<at::Tensor> list;
  append_to_list(in, list);
  const MoEOutput out = from_list(list, 0, 0);
  REQUIRE(out.decision.logits_TE.defined());
  CHECK(out.decision.logits_TE.sizes() == at::IntArrayRef({0, 3}));
}

TEST_CASE("a recomputed block may return an output with undefined tensors") {
  const at::Tensor x = at::full({1}, 3.0).requires_grad_();
  const auto run = [](const std::vector<at::Tensor>& inputs) {
    std::vector<at::Tensor> list;
    append_to_list(output_of(inputs[0], false), list);
    return list;
  };
  const MoEOutput out = from_list(recompute(run, {x}), 0, 3);
  CHECK_FALSE(out.decision.logits_TE.defined());
  (out.terms[0] + out.terms[2]).sum().backward();
  CHECK(x.grad().item<float>() == 1 + 2 * 3);
}

}  // namespace switchyard
