#include <catch2/catch.hpp>
#include <cstdint>
#include <iostream>
#include <string>
#include <vector>

#include "tests/trainers/route/routed.h"

// Every router with every term that it has, and capacity and bias rules in turn: the same bytes on
// any number of ranks. Numbers of experts and tokens that fill no vector register, and shares of
// ranks that differ or are empty, are where processors' kernels compute the last bits otherwise.
namespace switchyard::test {
namespace {

struct RouterCase {
  std::string options;
  int64_t top_k;
  bool takes_bias = false, takes_capacity = true, ranks_experts = true, has_probs = true;
  bool groups = false;
};

std::vector<RouterCase> routers(int64_t experts) {
  const bool odd = experts == 5;
  const std::string groups = odd ? ", groups: 5, kept_groups: 3" : ", groups: 4, kept_groups: 2";
  const std::string branches = odd            ? "[1, 5], kept: [1, 2]"
                               : experts == 8 ? "[2, 4], kept: [1, 2]"
                                              : "[4, 3], kept: [2, 1]";
  return {
      {"switch", 1, true},
      {"gshard", 2, true},
      {"mixtral", 2, true},
      {"top_k", 3, true},
      {"top_k, score: sigmoid", 3, true},
      {"top_k, score: sqrtsoftplus", 3, true},
      {"top_k, normalize: false, scale: 1.5", 3, true},
      {"top_k" + groups, 3, true, true, true, true, true},
      {"top_k, score: sigmoid" + groups, 3, true, true, true, true, true},
      {"top_k, score: sqrtsoftplus" + groups, 3, true, true, true, true, true},
      {"deepseek_moe, scale: 1.7", 3, true},
      {"deepseek_v2" + groups, 3, true, true, true, true, true},
      {"deepseek_v3, scale: 2.5" + groups, 3, true, true, true, true, true},
      {"noisy_top_k", 2},
      {"gumbel, temperature: 0.7", 2},
      {"gumbel", 1},
      {"sinkhorn", 2},
      {"sinkhorn, temperature: 0.5, rounds: 5", 1},
      {"hierarchical, branches: " + branches, 2},
      {"base", 1, false, true, false},
      {"relu", 2, false, true, false},
      {"soft", 2, false, false, false},
      {"expert_choice", 2, false, false, false},
      {"expert_choice, pool: sequence", 2, false, false, false},
      {"expert_choice, pool: {tokens: 10}", 2, false, false, false},
      {"hash, table: random", 2, false, true, false, false},
      {"hash, table: balanced", 2, false, true, false, false},
      {"hash, table: bigram", 2, false, true, false, false},
  };
}

std::string terms_of(const RouterCase& router, int64_t experts, bool training) {
  if (!router.has_probs) return "[]";
  const std::string groups = std::to_string(experts == 5 ? 5 : 4);
  std::string terms =
      "{type: load_balance, scope: step}, {type: load_balance, scope: sequence}, "
      "{type: load_balance, scope: {sequences: 2}, first_choice: true}, "
      "{type: load_balance, scope: step, f: exact}, "
      "{type: load_balance, scope: micro_batch, count: unbiased}, "
      "{type: importance}, {type: z}, {type: entropy}, {type: token_entropy, coef: -0.01}, "
      "{type: device, groups: " +
      groups + "}, {type: communication, groups: " + groups + "}, {type: communication, groups: 1}";
  if (training && router.options == "noisy_top_k") terms += ", {type: load}";
  return "[" + terms + "]";
}

std::string capacity_of(const RouterCase& router, size_t turn) {
  if (!router.takes_capacity) return "{}";
  std::vector<std::string> rules = {"{}", "{factor: 1.0}",
                                    "{factor: 0.8, order: probability, scope: {sequences: 2}}",
                                    "{factor: 0.8, order: random, scope: sequence}"};
  if (router.ranks_experts) {
    rules.push_back("{factor: 0.8, order: random, overflow: next_choice}");
    rules.push_back("{factor: 0.7, order: batch_priority, overflow: next_choice}");
  }
  rules.push_back(std::string("{factor: 0.9, order: batch_priority, scope: sequence") +
                  (router.top_k > 1 ? ", renormalize: true}" : "}"));
  return rules[turn % rules.size()];
}

std::string bias_of(const RouterCase& router, size_t turn) {
  if (!router.takes_bias) return "{}";
  std::vector<std::string> rules = {"{type: proportional, rate: 0.02}",
                                    "{type: multiplicative, rate: 0.1}",
                                    "{type: pid, kp: 0.1, ki: 0.01, kd: 0.02, zero_mean: true}",
                                    "{type: sign, rate: 0.01, zero_mean: true}"};
  if (!router.groups) rules.push_back("{type: quantile}");
  return rules[turn % rules.size()];
}

struct Tokens {
  int64_t length, sequences;
  at::ScalarType dtype;
};

/// Logits of which some experts get more, and a bias in every third turn of those that take one.
void write_scores(RouteFolder& folder, const RouterCase& router, int64_t experts,
                  const Tokens& tokens, size_t turn) {
  torch::manual_seed(static_cast<uint64_t>(turn));
  const int64_t T = tokens.length * tokens.sequences;
  int64_t columns = experts;
  if (router.options.rfind("hierarchical", 0) == 0)
    columns += experts == 5 ? 1 : experts == 8 ? 2 : 4;
  const auto liked = torch::linspace(1, -1, columns, torch::kDouble);
  StateList list = {
      {"logits", (2 * torch::randn({T, columns}, torch::kDouble) + liked).to(tokens.dtype)},
      {"tokens", torch::randint(200, {T}, torch::kLong)}};
  if (router.takes_bias && turn % 3 == 0)
    list.push_back({"bias", (1 + 0.05 * torch::randn({experts}, torch::kDouble)).to(tokens.dtype)});
  folder.write_scores(list);
}

/// "", or what differs.
std::string difference(const Routed& one, const Routed& many) {
  if (one.bytes == many.bytes && one.report.metrics == many.report.metrics) return "";
  std::string found = one.report.metrics == many.report.metrics ? "" : " metrics";
  for (const auto& [name, tensor] : one.tensors) {
    const auto& other = many.tensors.at(name);
    if (tensor.sizes() != other.sizes())
      found += " " + name + " (shape)";
    else if (!tensor.equal(other))
      found += " " + name + " (" + std::to_string(tensor.ne(other).sum().item<int64_t>()) + " of " +
               std::to_string(tensor.numel()) + ")";
  }
  return found.empty() ? " bytes" : found;
}

TEST_CASE("every router, term, capacity and bias writes the same bytes on 1 to 5 ranks") {
  RouteFolder folder;
  folder.job.seed = 3, folder.job.step = 5, folder.job.layer = 2;
  const Tokens shapes[] = {{7, 5, at::kFloat},  {13, 4, at::kFloat},  {1, 11, at::kFloat},
                           {7, 5, at::kDouble}, {13, 4, at::kDouble}, {1, 11, at::kDouble}};
  size_t turn = 0, configs = 0;
  for (const int64_t experts : {5, 8, 12}) {
    for (const RouterCase& router : routers(experts)) {
      for (const Tokens& tokens : shapes) {
        const bool training = turn % 2 == 0;
        const std::string moe =
            "{num_experts: " + std::to_string(experts) +
            ", top_k: " + std::to_string(router.top_k) + ", router: {type: " + router.options +
            "}, balance: " + terms_of(router, experts, training) +
            ", capacity: " + capacity_of(router, turn) + ", bias: " + bias_of(router, turn) + "}";
        folder.write_moe(moe);
        write_scores(folder, router, experts, tokens, turn);
        folder.job.training = training;
        folder.job.sequence_length = tokens.length;
        folder.job.num_ranks = 1;
        const Routed one = folder.route();
        for (const int ranks : {2, 3, 4, 5}) {
          folder.job.num_ranks = ranks;
          const std::string differs = difference(one, folder.route());
          INFO(ranks << " ranks" << (training ? ", training, " : ", ") << tokens.sequences << " × "
                     << tokens.length << " tokens, " << toString(tokens.dtype) << ", " << moe
                     << "\ndiffers in" << differs);
          CHECK(differs.empty());
        }
        ++turn, ++configs;
      }
    }
    ++turn;  // so that training and evaluation change places
  }
  std::cout << "ranks: " << configs << " configs, 1 rank against 2, 3, 4 and 5\n";
}

}  // namespace
}  // namespace switchyard::test
