#include <catch2/catch.hpp>
#include <utility>
#include <vector>

#include "tests/trainers/config/config_file.h"

using namespace switchyard;
using namespace switchyard::config_test;
using Catch::Matchers::Contains;

TEST_CASE("sizes beyond any model are refused before anything is made of them") {
  const std::vector<std::pair<std::string, int64_t>> most = {
      {"model.num_layers", 10'000},        {"model.hidden_dim", 1'048'576},
      {"model.ffn_dim", 1'048'576},        {"model.head_dim", 1'048'576},
      {"model.num_heads", 65'536},         {"model.num_kv_heads", 65'536},
      {"model.vocab_size", 2'147'483'647}, {"model.max_seq_len", 16'777'216},
      {"moe.num_experts", 100'000},        {"moe.top_k", 100'000},
      {"moe.expert_dim", 1'048'576},       {"moe.latent_dim", 1'048'576},
      {"moe.shared_experts", 100'000},     {"moe.shared_dim", 1'048'576},
      {"moe.zero_experts", 100'000},       {"moe.copy_experts", 100'000},
      {"moe.constant_experts", 100'000},   {"train.sequence_length", 16'777'216}};
  for (const auto& [key, highest] : most)
    for (const std::string& more : {std::to_string(highest + 1), std::string("1e12")}) {
      CAPTURE(key, more);
      CHECK_THAT(command_problem(key + "=" + more),
                 Contains(key + ": `" + more + "` is out of range; allowed: integer ≥ ") &&
                     Contains(" and ≤ " + std::to_string(highest)));
    }
  for (const char* key :
       {"q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"})
    CHECK_THAT(problem(std::string("model: {attention: mla, ") + key + ": 1048578}\n"),
               Contains("is out of range; allowed: integer ≥ ") && Contains(" and ≤ 1048576"));
  CHECK_THAT(problem("moe: {num_experts: [4, 4, 100001, 4]}\n"),
             Contains("moe.num_experts.2: `100001` is out of range"));
  CHECK_THAT(problem("moe: {router: {type: hierarchical, branches: [1, 4294967296]}}\n"),
             Contains("branches.1: `4294967296` is out of range"));
  CHECK_THAT(problem("moe: {router: {type: sinkhorn, rounds: 9e15}}\n"),
             Contains("allowed: integer ≥ 1 and ≤ 1000"));
  CHECK_THAT(problem("model: {rope_scaling: {type: yarn, original_max_seq_len: 16777217}}\n"),
             Contains("allowed: integer ≥ 1 and ≤ 16777216 | auto"));
  CHECK(config_of("moe: {num_experts: 100_000}\n").moe.num_experts == 100'000);
}

TEST_CASE("numbers of every form end with fp32") {
  for (const char* text :
       {"bias: {type: sign, rate: 1e39}", "bias: {type: pid, kp: 1e300}", "router: {scale: 1e300}",
        "capacity: {factor: 1e39}", "capacity: {factor: 1, eval_factor: 1e39}",
        "capacity: {factor: 1, dynamic: {min: 1, max: 1e39, target_drop: 0}}",
        "force: {zipf: 1e39}", "balance: [{type: z, coef: 1e300}]"}) {
    CAPTURE(text);
    CHECK_THAT(problem(std::string("moe: {") + text + "}\n"),
               Contains("is beyond ±3.4028235e+38, the largest number of fp32"));
  }
}
