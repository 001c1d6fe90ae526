#include <catch2/catch.hpp>
#include <iostream>

#include "core/moe/options/router_traits.h"
#include "tests/support/largest.h"
#include "tests/support/routing.h"

using namespace switchyard;
using namespace switchyard::test;

namespace {

constexpr int64_t kTokens = 12, kExperts = 6;

struct Setting {
  MoEOptions moe;
  torch::Tensor bias_E;  // may be undefined
  bool training = true;
};

struct Pair {
  RoutingDecision before, after;  // after other logits and another id from token `changed` on
};

Pair decide_twice(const Setting& setting, int64_t changed) {
  const auto router = make_router(setting.moe, {kTokens, torch::arange(kTokens)});
  RouterInputs inputs;
  inputs.logits_TE =
      random_matrix(kTokens, std::max<int64_t>(1, router->logit_columns(kExperts)), 17);
  RoutingContext context = training_context();
  context.training = setting.training;
  context.token_ids_T = torch::arange(kTokens).remainder(5);
  Pair pair;
  pair.before = router->decide(inputs, setting.bias_E, context);
  inputs.logits_TE = inputs.logits_TE.clone();
  inputs.logits_TE.slice(0, changed).mul_(-3).add_(0.5);
  context.token_ids_T = context.token_ids_T.clone();
  context.token_ids_T.slice(0, changed).fill_(9);
  pair.after = router->decide(inputs, setting.bias_E, context);
  return pair;
}

// How far earlier tokens moved: to other experts, or by their weights.
struct Moved {
  int64_t ids = 0;
  Largest weights;

  bool any() const { return ids > 0 || weights.value() > 0; }
};

torch::Tensor head(const torch::Tensor& columns_TK, double empty, int64_t tokens) {
  return torch::constant_pad_nd(columns_TK, {0, kExperts - columns_TK.size(1)}, empty)
      .narrow(0, 0, tokens);
}

// Changes the tokens from `changed` on, for each of them, and looks at those before.
void change_later_tokens(const Setting& setting, Moved& moved) {
  for (int64_t changed = 1; changed < kTokens; ++changed) {
    const Pair pair = decide_twice(setting, changed);
    moved.ids += head(pair.before.expert_ids_TK, -1, changed)
                     .ne(head(pair.after.expert_ids_TK, -1, changed))
                     .sum()
                     .item<int64_t>();
    moved.weights.see(
        (head(pair.before.weights_TK, 0, changed) - head(pair.after.weights_TK, 0, changed))
            .abs()
            .max()
            .item<double>());
  }
}

Moved change_later_tokens(const Setting& setting) {
  Moved moved;
  change_later_tokens(setting, moved);
  return moved;
}

// As each rule of a bias would give it.
std::vector<Setting> with_and_without_bias(const MoEOptions& moe, bool training) {
  std::vector<Setting> settings = {{moe, {}, training}};
  if (!router_traits(moe.router, moe.top_k).takes_bias) return settings;
  const auto random_E = random_matrix(1, kExperts, 23)[0] * 0.2;
  settings.push_back({moe, random_E, training});
  settings.back().moe.bias.type = "sign";
  settings.push_back({moe, 1 + random_E, training});
  settings.back().moe.bias.type = "multiplicative";
  return settings;
}

std::vector<std::string> tables_of(const std::string& type) {
  if (type == "hash") return {"random", "balanced", "bigram"};
  return {"random"};
}

}  // namespace

TEST_CASE("causality: a later token moves no earlier one, with a bias or without") {
  Moved all;
  for (const auto& type : router_types()) {
    const bool causal = type != "expert_choice" && type != "base" && type != "sinkhorn";
    MoEOptions moe = valid_options(type, kExperts, 2);
    CAPTURE(type);
    CHECK(router_traits(moe.router, moe.top_k).causal == causal);
    if (!causal) continue;
    for (const auto& table : tables_of(type))
      for (const bool training : {true, false}) {
        moe.router.table = table;
        for (const Setting& setting : with_and_without_bias(moe, training)) {
          CAPTURE(table, training, setting.moe.bias.type);
          CHECK_FALSE(change_later_tokens(setting).any());
          change_later_tokens(setting, all);
        }
      }
  }
  std::cout << "causality: " << all.ids << " earlier choices of experts moved\n";
  all.weights.print("causality: weights of earlier tokens");
}

TEST_CASE("causality: assignment of a whole batch moves earlier tokens, its evaluation does not") {
  for (const auto* type : {"expert_choice", "base", "sinkhorn"}) {
    CAPTURE(type);
    const MoEOptions moe = valid_options(type, kExperts, 2);
    CHECK(change_later_tokens({moe, {}, true}).any());
    if (std::string(type) == "expert_choice") continue;
    CHECK_FALSE(change_later_tokens({moe, {}, false}).any());
  }
}
