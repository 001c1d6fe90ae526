#include "trainers/config/train_config.h"

#include <catch2/catch.hpp>

#include "tests/trainers/config/config_file.h"

using namespace switchyard;
using namespace switchyard::config_test;
using Catch::Matchers::Contains;
using Catch::Matchers::Equals;

namespace {

std::string ranks_problem(const std::string& text, int64_t ranks) {
  const ConfigFile file(text);
  const LoadedConfig loaded = file.load();
  try {
    check_ranks(loaded, ranks);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("an empty map is the documented default config") {
  const ConfigFile file("{}", "quickstart.yaml");
  const TrainConfig config = file.load().config;
  CHECK(config.run.name == "quickstart");
  CHECK(config.run.dir == "runs/quickstart");
  CHECK(config.run.seed == 1);
  CHECK(config.model.num_layers == 4);
  CHECK(config.model.head_dim == 32);
  CHECK(config.moe.num_experts == 16);
  CHECK(config.moe.top_k == 2);
  CHECK(config.moe.router.type == "top_k");
  REQUIRE(config.moe.balance.size() == 2);
  CHECK(config.moe.balance[0].type == "load_balance");
  CHECK(config.moe.balance[0].scope == "step");
  CHECK(config.moe.balance[0].coef.at(0) == 0.01);
  CHECK(config.moe.balance[1].type == "z");
  CHECK(config.moe.balance[1].coef.at(0) == 0.001);
  CHECK(config.moe.bias.type == "none");
  CHECK_FALSE(config.moe.capacity.factor);
  CHECK(config.optim.lr == 3e-3);
  CHECK(config.optim.min_lr == 3e-4);
  CHECK(config.train.steps == 300);
  CHECK(config.sequence_length() == 128);
  CHECK(config.num_micro_batches() == 1);
  CHECK(config.num_moe_layers() == 4);
  CHECK(config.eval.sequences == 512);
  CHECK(config.checkpoint.keep == 3);
  CHECK(config.log.tensorboard);
}

TEST_CASE("defaults follow what they depend on") {
  CHECK(config_of("run: {name: abc}\n").run.dir == "runs/abc");
  CHECK(config_of("run: {dir: x/y}\n").run.dir == "x/y");
  CHECK(config_of("optim: {lr: 1e-4}\n").optim.min_lr == 1e-4);
  CHECK(config_of("model: {max_seq_len: 64}\n").sequence_length() == 64);
}

TEST_CASE("every block reads its keys") {
  const TrainConfig config = config_of(R"(
run: {name: n, dir: d, seed: 7, resume: must, device: cpu, threads: 2}
model: {num_layers: 2, hidden_dim: 8, num_heads: 2, num_kv_heads: 1, head_dim: 4, ffn_dim: 16, vocab_size: 100, max_seq_len: 32,
        rope_theta: 5000, norm_eps: 1e-6, tie_embeddings: true, qk_norm: head, init_std: 0.1}
moe: {layers: {every: 2, offset: 1}, num_experts: 8, top_k: 3, expert_dim: 5, shared_experts: 1, shared_dim: 6, shared_gate: true,
      router: {type: deepseek_v3, groups: 4, kept_groups: 2, scale: 2.5, jitter: 0.1, init: 0.3},
      balance: [{type: load_balance, scope: {sequences: 3}, coef: 0.5, count: unbiased, first_choice: true}],
      bias: {type: sign, rate: 0.01},
      capacity: {factor: 1.25, eval_factor: 2, order: batch_priority, overflow: drop, scope: sequence, min: 4, renormalize: true}}
parallel: {expert: 2, comm: mpi}
data: {type: synthetic, num_domains: 4}
optim: {type: adamw, lr: 0.1, min_lr: 0.01, schedule: wsd, warmup_steps: 3, decay_steps: 10, betas: [0.8, 0.9], eps: 1e-9, weight_decay: 0, clip_norm: 0}
train: {steps: 1e1, sequences_per_step: 8, micro_sequences: 4, sequence_length: 16, precision: fp64, recompute: full, on_nan: skip}
eval: {every: 0, sequences: 1_000}
checkpoint: {every: 5, keep: 1}
log: {every: 1, tensorboard: false}
)");
  CHECK(config.run.threads == 2);
  CHECK(config.run.resume == "must");
  CHECK(config.model.vocab_size == 100);
  CHECK(config.model.qk_norm == "head");
  CHECK(config.moe.layers.contains(1));
  CHECK_FALSE(config.moe.layers.contains(0));
  CHECK(config.moe.router.init == 0.3);
  CHECK(config.moe.balance[0].scope == "sequences");
  CHECK(config.moe.balance[0].scope_sequences == 3);
  CHECK(config.moe.balance[0].count == "unbiased");
  CHECK(config.moe.shared_dim == 6);
  CHECK(config.moe.shared_gate);
  CHECK(config.moe.capacity.factor_in(true) == 1.25);
  CHECK(config.moe.capacity.factor_in(false) == 2.0);
  CHECK(config.moe.capacity.order == "batch_priority");
  CHECK(config.parallel.expert == 2);
  CHECK(config.optim.decay_steps == 10);
  CHECK(config.train.steps == 10);
  CHECK(config.num_micro_batches() == 2);
  CHECK(config.eval.sequences == 1000);
}

TEST_CASE("moe.layers takes five forms") {
  const auto layers = [](const std::string& form) {
    std::string found;
    const TrainConfig config = config_of("model: {num_layers: 6}\nmoe: {layers: " + form + "}\n");
    for (int64_t layer = 0; layer < 6; ++layer)
      if (config.moe.layers.contains(layer)) found += std::to_string(layer);
    return found;
  };
  CHECK(layers("all") == "012345");
  CHECK(layers("none").empty());
  CHECK(layers("{every: 2, offset: 1}") == "135");
  CHECK(layers("{every: 3}") == "03");
  CHECK(layers("{first_dense: 4}") == "45");
  CHECK(layers("[5, 0]") == "05");
  const auto refused = [](const std::string& form) {
    return problem("moe: {layers: " + form + "}\n");
  };
  CHECK_THAT(refused("some"),
             Contains("moe.layers: `some` is not a layer pattern; allowed: all | none"));
  CHECK_THAT(refused("{evry: 2}"), Contains("moe.layers.evry: unknown key; did you mean `every`?"));
  CHECK_THAT(refused("{every: 0}"), Contains("moe.layers.every: `0` is out of range"));
  CHECK_THAT(refused("{every: 2, offset: 2}"), Contains("2 is not below every: 2"));
  CHECK_THAT(refused("{every: 2, first_dense: 1}"), Contains("is not a pattern"));
  CHECK_THAT(refused("{offset: 1}"), Contains("is not a pattern"));
  CHECK_THAT(refused("[]"), Contains("the list is empty; write none"));
  CHECK_THAT(refused("[0, 0]"), Contains("layer 0 is listed twice"));
  CHECK_THAT(refused("[4]"), Contains("there is no layer 4 in model.num_layers: 4"));
  CHECK_THAT(refused("{first_dense: 4}"),
             Contains("the pattern meets none of model.num_layers: 4"));
}

TEST_CASE("balance terms have aliases") {
  const auto term = [](const std::string& text) {
    return config_of("moe: {balance: [" + text + "]}\n").moe.balance.at(0);
  };
  CHECK(term("{type: switch}").scope == "micro_batch");
  CHECK(term("{type: micro_batch}").scope == "micro_batch");
  CHECK(term("{type: global_batch}").scope == "step");
  CHECK(term("{type: sequence}").scope == "sequence");
  CHECK(term("{type: gshard}").first_choice);
  CHECK(term("{type: gshard, scope: micro_batch}").scope == "micro_batch");
  CHECK(term("{type: switch}").type == "load_balance");
  CHECK(term("{type: z}").coef.at(0) == 0.001);
  CHECK(term("{type: global_batch, f: exact}").f == "exact");
  const auto refused = [](const std::string& text) {
    return problem("moe: {balance: [" + text + "]}\n");
  };
  CHECK_THAT(refused("{type: switch, scope: step}"),
             Contains("moe.balance.0.scope: is fixed by the type"));
  CHECK_THAT(refused("{type: z, scope: step}"),
             Contains("moe.balance.0.scope: belongs to type load_balance; here type is z"));
  CHECK_THAT(refused("{type: z, f: exact}"),
             Contains("moe.balance.0.f: belongs to type load_balance"));
  CHECK_THAT(refused("{scope: sequence, f: exact}"),
             Contains("moe.balance.0.f: belongs to scope step; here scope is sequence"));
  CHECK_THAT(refused("{coef: -0.1}"), Contains("allowed: number ≥ 0"));
  CHECK_THAT(refused("{scope: sequnce}"), Contains("did you mean `sequence`?"));
  CHECK_THAT(refused("{scope: {sequences: 0}}"), Contains("allowed: integer ≥ 1"));
  CHECK_THAT(refused("{scope: {sequence: 4}}"), Contains("did you mean `sequences`?"));
  CHECK_THAT(refused("{scope: {}}"), Contains("{} is not a scope"));
}

TEST_CASE("eval_factor is the factor unless it says otherwise") {
  const auto factor = [](const std::string& text) {
    return config_of("moe: {capacity: {" + text + "}}\n").moe.capacity.factor_in(false);
  };
  CHECK(factor("factor: 1.5") == 1.5);
  CHECK(factor("factor: 1.5, eval_factor: auto") == 1.5);
  CHECK(factor("factor: 1.5, eval_factor: 2") == 2.0);
  CHECK_FALSE(factor("factor: 1.5, eval_factor: none"));
  CHECK_FALSE(factor("factor: none"));
  CHECK_THAT(problem("moe: {capacity: {eval_factor: 0}}\n"),
             Contains("allowed: auto | none | number > 0"));
}

TEST_CASE("combinations that cannot work name both keys and their place") {
  const auto moe = [](const std::string& text) { return problem("moe: {" + text + "}\n"); };
  CHECK_THAT(moe("num_experts: 4, top_k: 5"),
             Equals("small.yaml:1:30: moe.top_k: 5 is above moe.num_experts: 4"));
  CHECK_THAT(moe("num_experts: 1"),
             Equals("small.yaml:1:20: moe.top_k: 2 is above moe.num_experts: 1"));
  CHECK_THAT(moe("router: {type: switch}"),
             Contains("moe.top_k: 2 does not fit moe.router.type: switch"));
  CHECK_THAT(moe("top_k: 1, router: {type: gshard}"),
             Contains("moe.top_k: 1 does not fit moe.router.type: gshard"));
  SECTION("one expert with normalised weights") {
    CHECK_THAT(moe("top_k: 1, router: {normalize: true}"),
               Contains("moe.top_k: 1 with normalised weights (moe.router.normalize: true)"));
    CHECK_THAT(moe("top_k: 1, router: {type: mixtral}"),
               Contains("normalised weights (moe.router.type: mixtral)"));
    CHECK_THAT(moe("top_k: 1, router: {type: deepseek_v3}"),
               Contains("normalised weights (moe.router.type: deepseek_v3)"));
    CHECK_THAT(moe("top_k: 1, capacity: {factor: 1, renormalize: true}"),
               Contains("moe.capacity.renormalize: true with moe.top_k: 1"));
    CHECK(moe("top_k: 1").empty());
    CHECK(moe("top_k: 1, router: {normalize: false}").empty());
    CHECK(moe("top_k: 1, router: {type: deepseek_moe}").empty());
    CHECK(moe("top_k: 1, router: {type: switch}").empty());
  }
  SECTION("but not where top_k is no number of columns") {
    CHECK(moe("top_k: 1, router: {type: relu}, capacity: {factor: 1, renormalize: true}").empty());
    CHECK(moe("num_experts: 4, top_k: 5, router: {type: soft}").empty());
    CHECK_THAT(moe("num_experts: 4, top_k: 5, router: {type: relu}"),
               Contains("moe.top_k: 5 is above moe.num_experts: 4"));
  }
  SECTION("groups") {
    CHECK_THAT(moe("router: {groups: 3}"),
               Contains("moe.router.groups: 3 does not divide moe.num_experts: 16"));
    CHECK_THAT(moe("router: {groups: 2, kept_groups: 3}"),
               Contains("moe.router.kept_groups: 3 is above moe.router.groups: 2"));
    CHECK_THAT(moe("top_k: 5, router: {groups: 4}"),
               Contains("moe.top_k: 5 is above the 4 experts in moe.router.kept_groups: 1 of "
                        "moe.router.groups: 4"));
    CHECK(moe("top_k: 4, router: {groups: 4}").empty());
  }
  SECTION("biases") {
    CHECK(moe("bias: {type: quantile}").empty());
    CHECK_THAT(moe("bias: {type: quantile}, top_k: 16"),
               Contains("moe.bias.type: quantile needs an expert that is not chosen; allowed: "
                        "moe.top_k below moe.num_experts: 16"));
    CHECK_THAT(moe("bias: {type: quantile}, router: {groups: 2}"),
               Contains("moe.bias.type: quantile does not know groups; allowed: "
                        "moe.router.groups: 1, not 2"));
    CHECK_THAT(moe("bias: {type: multiplicative, zero_mean: true}"),
               Contains("moe.bias.zero_mean: belongs to type sign, proportional, pid"));
    CHECK(moe("bias: {type: sign, rate: {0: 0.001, 1000: 0}}").empty());
    CHECK_THAT(moe("bias: {type: sign, ema: 1}"), Contains("allowed: number ≥ 0 and < 1"));
  }
  SECTION("capacity") {
    CHECK(moe("capacity: {factor: 1.25, dynamic: {min: 1, max: 2, target_drop: 0.01}}").empty());
    CHECK_THAT(moe("capacity: {dynamic: {min: 1, max: 2, target_drop: 0.01}}"),
               Contains("moe.capacity.dynamic: starts at moe.capacity.factor, which is none"));
    CHECK_THAT(moe("capacity: {factor: 3, dynamic: {min: 1, max: 2, target_drop: 0.01}}"),
               Contains("moe.capacity.factor: 3 is outside moe.capacity.dynamic"));
    CHECK_THAT(
        moe("capacity: {factor: 1, dynamic: {min: 1, max: 2}}"),
        Contains("has no target_drop; allowed: none | {min: n, max: n, target_drop: share}"));
    CHECK_THAT(moe("capacity: {factor: 1, dynamic: {min: 1, max: 2, target_drop: 2}}"),
               Contains("moe.capacity.dynamic.target_drop: `2` is out of range"));
    CHECK_THAT(moe("capacity: {factor: 1, dynamic: {min: 2, max: 1, target_drop: 0}}"),
               Contains("min: 2 is above max: 1"));
    CHECK_THAT(moe("capacity: {factor: 1, scope: {sequence: 2}}"),
               Contains("did you mean `sequences`?"));
    CHECK(moe("capacity: {factor: 1, scope: {sequences: 2}, overflow: next_choice}").empty());
  }
  SECTION("shared experts") {
    CHECK_THAT(moe("shared_dim: 64"), Contains("moe.shared_dim: 64 without shared experts"));
    CHECK(moe("shared_dim: 64, shared_experts: 1").empty());
    CHECK_THAT(moe("shared_gate: true"), Contains("moe.shared_gate: true without shared experts"));
    CHECK(moe("shared_gate: true, shared_experts: 2").empty());
  }
  SECTION("a list of experts, one number for each MoE layer") {
    CHECK(moe("num_experts: [4, 4, 8, 8]").empty());
    CHECK_THAT(moe("num_experts: [4, 8]"),
               Contains("moe.num_experts: the list has 2 entries; allowed: one integer, or 4, one "
                        "for each MoE layer"));
    CHECK_THAT(moe("num_experts: [4, 8], layers: {every: 2}, top_k: 5"),
               Contains("moe.top_k: 5 is above moe.num_experts: 4"));
    CHECK_THAT(moe("num_experts: [4, 0, 8, 8]"), Contains("`0` is out of range"));
    CHECK_THAT(moe("num_experts: []"), Contains("the list is empty"));
    const std::string term =
        "num_experts: [4, 4, 8, 8], balance: [{type: load_balance, coef: 0.1, ";
    CHECK(moe(term + "from: hf}]").empty());
    CHECK_THAT(moe(term + "from: gshard}]"),
               Contains("moe.balance.0.from: gshard depends on the number of experts (L / E^2)"));
  }
  SECTION("groups of a term or a router") {
    CHECK_THAT(moe("num_experts: 4, balance: [{type: device, groups: 3, coef: 0.1}]"),
               Contains("moe.balance.0.groups: 3 does not divide moe.num_experts: 4"));
    CHECK_THAT(moe("num_experts: 6, router: {groups: 4}"),
               Contains("moe.router.groups: 4 does not divide moe.num_experts: 6"));
  }
  SECTION("zero, copy and constant experts") {
    CHECK(moe("zero_experts: 1, copy_experts: 1, constant_experts: 2").empty());
    CHECK(moe("num_experts: 1, top_k: 2, zero_experts: 1").empty());
    CHECK(moe("zero_experts: 1, zero_compute_weight: 0.75").empty());
    CHECK(moe("zero_experts: 1, router: {gating_residual: true}").empty());
    CHECK_THAT(moe("router: {type: hash, gating_residual: true}, balance: []"),
               Contains("moe.router.gating_residual: belongs to type switch"));
    CHECK_THAT(moe("zero_compute_weight: 0.75"),
               Contains("moe.zero_compute_weight: 0.75 without zero, copy or constant experts"));
    CHECK_THAT(moe("zero_experts: 1, zero_compute_weight: 0"), Contains("`0` is out of range"));
    CHECK_THAT(moe("zero_experts: 16, router: {groups: 2}"),
               Contains("moe.router.groups: 2 does not go with zero, copy or constant experts"));
    CHECK_THAT(moe("copy_experts: 1, capacity: {factor: 1, renormalize: true}"),
               Contains("moe.capacity.renormalize: true does not go with"));
    CHECK_THAT(moe("zero_experts: 1, balance: [{type: device, groups: 2, coef: 0.1}]"),
               Contains("moe.balance.type: device does not go with"));
  }
  SECTION("the dense part of PR-MoE") {
    CHECK_THAT(moe("residual: true"), Contains("moe.residual: true with moe.top_k: 2"));
    CHECK_THAT(moe("residual: true, top_k: 1, shared_experts: 1"),
               Contains("moe.residual: true with moe.shared_experts: 1"));
    CHECK(moe("residual: true, top_k: 1, shared_dim: 64, shared_gate: true").empty());
  }
  SECTION("the model") {
    CHECK_THAT(
        problem("model: {num_heads: 4, num_kv_heads: 3}\n"),
        Contains("small.yaml:1:20: model.num_heads: 4 is not a multiple of model.num_kv_heads: 3"));
    CHECK_THAT(problem("model: {head_dim: 5}\n"), Contains("model.head_dim: 5 is odd"));
    CHECK_THAT(problem("model: {attention: mla, qk_rope_head_dim: 5}\n"),
               Contains("model.qk_rope_head_dim: 5 is odd"));
    CHECK_THAT(problem("model: {attention: mla, head_dim: 8}\n"),
               Contains("model.head_dim: belongs to attention gqa; here attention is mla"));
    CHECK_THAT(problem("model: {kv_lora_rank: 8}\n"),
               Contains("model.kv_lora_rank: belongs to attention mla; here attention is gqa"));
  }
  SECTION("the optimizer") {
    CHECK_THAT(problem("optim: {lr: 1e-3, min_lr: 1e-2}\n"),
               Contains("optim.min_lr: 0.01 is above optim.lr: 0.001"));
    CHECK_THAT(problem("optim: {schedule: wsd}\n"),
               Contains("optim.schedule: wsd needs optim.decay_steps ≥ 1"));
    CHECK_THAT(
        problem("optim: {decay_steps: 5}\n"),
        Contains("optim.decay_steps: belongs to schedule wsd; here schedule is cosine (default)"));
  }
  SECTION("sequences") {
    CHECK_THAT(
        problem("train: {sequences_per_step: 30}\n"),
        Contains("train.sequences_per_step: 30 is not a multiple of train.micro_sequences: 32"));
    CHECK_THAT(problem("train: {sequence_length: 256}\n"),
               Contains("train.sequence_length: 256 is above model.max_seq_len: 128"));
  }
  SECTION("the run") {
    CHECK_THAT(problem("run: {name: a/b}\n"), Contains("run.name: `a/b` cannot name a folder"));
    CHECK_THAT(problem("run: {dir: ''}\n"), Contains("run.dir: is empty"));
  }
  SECTION("on the command line") {
    CHECK_THAT(command_problem("moe.top_k=17"),
               Equals("command line: moe.top_k=17: moe.top_k: 17 is above moe.num_experts: 16"));
  }
}

TEST_CASE("routers have options of their own") {
  const auto router = [](const std::string& text, const std::string& rest = "") {
    return config_of("moe: {balance: [], router: {" + text + "}" + rest + "}\n").moe.router;
  };
  const auto refused = [](const std::string& text, const std::string& rest = "") {
    return problem("moe: {router: {" + text + "}" + rest + "}\n");
  };
  CHECK(router("type: expert_choice").pool == "micro_batch");
  CHECK(router("type: expert_choice, pool: sequence").pool == "sequence");
  CHECK(router("type: expert_choice, pool: {tokens: 16}").pool_tokens == 16);
  CHECK_THAT(refused("type: expert_choice, pool: {tokens: 0}"), Contains("pool.tokens: `0`"));
  CHECK_THAT(refused("type: expert_choice, pool: sequences"), Contains("did you mean `sequence`"));
  CHECK(router("type: hash, table: bigram").table == "bigram");
  CHECK_THAT(refused("type: hash, jitter: 0.1"), Contains("moe.router.jitter: belongs to type"));
  CHECK_THAT(refused("type: hash"), Contains("which moe.router.type: hash does not have"));
  CHECK(router("type: sinkhorn, rounds: 3, temperature: 0.5").rounds == 3);
  CHECK_THAT(refused("type: base"), Contains("moe.top_k: 2 does not fit moe.router.type: base"));

  CHECK(router("type: hierarchical, branches: [4, 4], kept: [1, 2]").branches[1] == 4);
  CHECK_THAT(refused("type: hierarchical, branches: [4, 4]"),
             Contains("moe.router.kept: is needed"));
  CHECK_THAT(refused("type: hierarchical, branches: [3, 4], kept: [1, 2]"),
             Contains("[3, 4] does not make moe.num_experts: 16"));
  CHECK_THAT(refused("type: hierarchical, branches: [8, 2], kept: [1, 4]", ", top_k: 4"),
             Contains("[1, 4] is above moe.router.branches: [8, 2]"));
  CHECK_THAT(refused("type: hierarchical, branches: [4, 4], kept: [2, 2]"),
             Contains("[2, 2] does not make moe.top_k: 2"));

  CHECK_THAT(refused("type: noisy_top_k", ", bias: {type: sign}"),
             Contains("moe.bias.type: sign does not apply to moe.router.type: noisy_top_k"));
  CHECK_THAT(refused("type: expert_choice", ", capacity: {factor: 1.5}"),
             Contains("moe.capacity.factor: 1.5 does not apply to moe.router.type: expert_choice"));
}

TEST_CASE("options of an unselected router are refused in the layer of its type") {
  CHECK_THAT(problem("moe: {top_k: 1, router: {type: switch, groups: 2}}\n"),
             Contains("moe.router.groups: belongs to type top_k, deepseek_v2, deepseek_v3; here "
                      "type is switch"));
  CHECK_THAT(problem("moe: {router: {type: mixtral, normalize: true}}\n"),
             Contains("moe.router.normalize: belongs to type top_k"));
  CHECK_THAT(problem("moe: {bias: {rate: 0.1}}\n"),
             Contains("moe.bias.rate: belongs to type sign, proportional, multiplicative; here "
                      "type is none (default)"));
  SECTION("while a later type resets them") {
    const TrainConfig config =
        config_of("moe: {router: {type: deepseek_v3, groups: 4, kept_groups: 2, scale: 2.5}}\n",
                  {"moe.router.type=mixtral"});
    CHECK(config.moe.router.type == "mixtral");
    CHECK(config.moe.router.scale == 1.0);
    CHECK(config.moe.router.groups == 1);
  }
}

TEST_CASE("a capacity that looks at later tokens is noted once") {
  const auto notes = [](const std::string& capacity) {
    const ConfigFile file("moe: {capacity: {" + capacity + "}}\n");
    std::string all;
    for (const std::string& note : file.load().notes) all += note + "\n";
    return all;
  };
  const auto notes_at_one_choice = [](const std::string& capacity) {
    const ConfigFile file("moe: {top_k: 1, router: {type: switch}, capacity: {" + capacity +
                          "}}\n");
    return file.load().notes;
  };
  CHECK(notes_at_one_choice("factor: 1").empty());
  CHECK(notes_at_one_choice("factor: 1, order: random").size() == 1);  // in training alone
  CHECK(notes("eval_factor: none, order: position").find("not causal") == std::string::npos);
  // Second choices stand behind the first ones of later tokens.
  CHECK_THAT(notes("factor: 1"),
             Contains("order: position with moe.top_k: 2 is not causal where the capacity binds"));
  CHECK_THAT(notes("factor: 1, eval_factor: none, order: probability"),
             Contains("order: probability with moe.top_k: 2 is not causal"));
  CHECK_THAT(notes("factor: 1, order: batch_priority"),
             Contains("order: batch_priority with moe.top_k: 2 is not causal"));
  CHECK_THAT(notes("factor: 1, overflow: next_choice"),
             Contains("overflow: next_choice is not causal where the capacity binds"));
}

TEST_CASE("what depends on the number of ranks is checked when it is known") {
  CHECK(ranks_problem("{}", 4).empty());
  CHECK_THAT(
      ranks_problem("train: {micro_sequences: 2}\n", 3),
      Contains("train.micro_sequences: 2 cannot be split over 3 ranks; allowed: integer ≥ 3"));
  CHECK_THAT(ranks_problem("parallel: {expert: 3}\n", 4),
             Contains(":1:20: parallel.expert: 3 does not divide the 4 ranks"));
  CHECK_THAT(ranks_problem("parallel: {expert: 4}\nmoe: {num_experts: 3}\n", 4),
             Contains("parallel.expert: 4 is above moe.num_experts: 3"));
  CHECK(ranks_problem("parallel: {expert: 3}\nmoe: {layers: none}\n", 4).empty());
}

TEST_CASE("auto shares the experts over the greatest common divisor of ranks and experts") {
  TrainConfig config;
  config.moe.num_experts = 6;
  CHECK(expert_ranks(config, 4) == 2);
  CHECK(expert_ranks(config, 3) == 3);
  CHECK(expert_ranks(config, 5) == 1);
  config.parallel.expert = 4;
  CHECK(expert_ranks(config, 4) == 4);
}

TEST_CASE("every shipped block can be built on") {
  int count = 0;
  for (const auto& entry : fs::directory_iterator(shipped_configs() + "/moe")) {
    CAPTURE(entry.path().string());
    const std::string name = "switchyard/moe/" + entry.path().stem().string();
    CHECK(problem("base: " + name + "\n") == "");
    ++count;
  }
  CHECK(count >= 5);
}

TEST_CASE("a checkpoint of another model, data, optimizer or seed differs by name") {
  const TrainConfig saved = config_of("{}");
  CHECK(resume_differences(saved,
                           config_of("train: {steps: 7, on_nan: skip}\noptim: {lr: 1}\nlog: "
                                     "{every: 1}\nparallel: {expert: 1}\n"
                                     "eval: {every: 1}\ncheckpoint: {keep: 9}\nrun: {dir: z}\n"))
            .empty());
  CHECK(resume_differences(saved, config_of("model: {num_layers: 5}\n")) ==
        "model.num_layers: 4 → 5\n");
  CHECK(resume_differences(saved, config_of("run: {seed: 2}\n")) == "run.seed: 1 → 2\n");
  CHECK(resume_differences(saved, config_of("data: {seed: 2}\n")) == "data.seed: 1 → 2\n");
  CHECK(resume_differences(saved, config_of("moe: {balance: []}\n")) != "");
  CHECK(resume_differences(saved, config_of("train: {precision: fp64}\n")) ==
        "train.precision: fp32 → fp64\n");
  CHECK(resume_differences(saved, config_of("train: {sequence_length: 128}\n")).empty());
  CHECK(resume_differences(saved, config_of("train: {sequence_length: 64}\n")) ==
        "train.sequence_length: 128 → 64\n");
}

TEST_CASE("run.resume is a word or the path of a checkpoint") {
  CHECK(config_of("run: {resume: never}\n").run.resume == "never");
  CHECK_THAT(problem("run: {resume: nevr}\n"), Contains("did you mean `never`?"));
  const ConfigFile file("run: {resume: old/checkpoints/step-00000100}\n");
  CHECK(file.load().config.run.resume == file.folder() + "/old/checkpoints/step-00000100");
  CHECK(file.load({"run.resume=x/y"}).config.run.resume == (fs::current_path() / "x/y").string());
}
