#include "trainers/import/hf_config.h"

#include <catch2/catch.hpp>

#include "tests/support/hf_folder.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using nlohmann::json;
using namespace switchyard::test;

namespace {

/// A golden config.json without some of its keys.
json without(const std::string& model, const std::vector<std::string>& keys) {
  json config = config_of(model);
  for (const auto& key : keys) config.erase(key);
  return config;
}

ModelOptions model_without(const std::string& model, const std::vector<std::string>& keys) {
  json config = without(model, keys);
  config["num_attention_heads"] = 16;  // what every family's number of key heads divides
  if (config.contains("qk_rope_head_dim")) config.erase("num_key_value_heads");
  return model_of(config).config.model;
}

MoEOptions moe_without(const std::string& model, const std::vector<std::string>& keys) {
  return model_of(without(model, keys)).config.moe;
}

}  // namespace

TEST_CASE("configs of transformers 4 say the same as those of 5") {
  json config = config_of("qwen3_moe");
  config["rope_theta"] = 1e6;
  config["rope_scaling"] = nullptr;
  config["torch_dtype"] = "bfloat16";
  config["num_experts"] = config["num_local_experts"];
  for (const char* key : {"rope_parameters", "dtype", "num_local_experts"}) config.erase(key);
  const HfModel model = model_of(config);
  CHECK(model.config.model.rope_theta == 1e6);
  CHECK(model.config.moe.num_experts == 12);
  CHECK(model.config.model.qk_norm == "head");
  CHECK(model.notes.empty());
}

// Of the configuration classes of transformers 5.17.0.
TEST_CASE("keys that are absent have the values that transformers gives them") {
  SECTION("norms, positions and heads of each family") {
    struct Expected {
      const char* model;
      double eps, theta;
      int64_t kv_heads;
    };
    for (const auto& [model, eps, theta, kv_heads] :
         {Expected{"llama", 1e-6, 1e4, 16}, Expected{"mixtral", 1e-5, 1e6, 8},
          Expected{"olmoe", 1e-5, 1e4, 16}, Expected{"qwen2_moe", 1e-6, 1e4, 16},
          Expected{"qwen3_moe", 1e-6, 1e4, 4}, Expected{"deepseek_v2", 1e-6, 1e4, 0},
          Expected{"deepseek_v3", 1e-6, 1e4, 0}}) {
      CAPTURE(model);
      const ModelOptions read =
          model_without(model, {"rms_norm_eps", "rope_parameters", "num_key_value_heads",
                                "initializer_range", "tie_word_embeddings", "hidden_act"});
      CHECK(read.norm_eps == eps);
      CHECK(read.rope_theta == theta);
      if (kv_heads > 0) CHECK(read.num_kv_heads == kv_heads);
      CHECK(read.init_std == 0.02);
      CHECK_FALSE(read.tie_embeddings);
    }
    CHECK(model_without("llama", {"head_dim"}).head_dim == 2);
    CHECK(model_without("qwen2_moe", {"qkv_bias"}).attention_bias);
    CHECK_FALSE(model_without("olmoe", {"clip_qkv"}).clip_qkv.has_value());
    CHECK(model_without("deepseek_v2", {"q_lora_rank"}).q_lora_rank == 1536);
    CHECK(model_without("deepseek_v3", {"q_lora_rank"}).q_lora_rank == 1536);
    CHECK(model_without("deepseek_v3", {"rope_interleave"}).rope_interleaved);
  }
  SECTION("experts") {
    CHECK(moe_without("deepseek_v2", {"routed_scaling_factor"}).router.scale == 1.0);
    CHECK(moe_without("deepseek_v3", {"routed_scaling_factor"}).router.scale == 2.5);
    CHECK(moe_without("deepseek_v2", {"n_shared_experts"}).shared_experts == 2);
    CHECK(moe_without("deepseek_v3", {"n_shared_experts"}).shared_experts == 1);
    CHECK(moe_without("deepseek_v2", {"topk_method"}).router.groups == 1);
    CHECK(moe_without("deepseek_v3", {"norm_topk_prob"}).router.type == "deepseek_v3");
    for (const std::string model : {"olmoe", "qwen2_moe", "qwen3_moe"})
      CHECK(moe_without(model, {"norm_topk_prob"}).router.normalize == false);
    json config = without("deepseek_v3", {"first_k_dense_replace"});
    config["num_hidden_layers"] = 5;
    CHECK(model_of(config).config.moe.layers.first_dense == 3);
    config["model_type"] = "deepseek_v2";
    config["norm_topk_prob"] = false;
    CHECK(model_of(config).config.moe.layers.kind == LayerPattern::Kind::kAll);
  }
  SECTION("one layer for multi-token prediction") {
    CHECK(model_of(without("deepseek_v3", {"num_nextn_predict_layers"})).extra_layers == 1);
    json config = without("deepseek_v3", {"num_nextn_predict_layers"});
    config["num_mtp_layers"] = 2;
    CHECK(model_of(config).extra_layers == 2);
  }
}

TEST_CASE("a null is not taken for an absent key") {
  for (const auto& [model, key] :
       std::vector<std::pair<std::string, std::string>>{{"deepseek_v3", "norm_topk_prob"},
                                                        {"deepseek_v3", "rope_interleave"},
                                                        {"deepseek_v3", "routed_scaling_factor"},
                                                        {"deepseek_v3", "first_k_dense_replace"},
                                                        {"deepseek_v3", "n_group"},
                                                        {"deepseek_v3", "num_nextn_predict_layers"},
                                                        {"deepseek_v2", "n_shared_experts"},
                                                        {"deepseek_v2", "topk_method"},
                                                        {"olmoe", "norm_topk_prob"},
                                                        {"qwen2_moe", "qkv_bias"},
                                                        {"qwen3_moe", "decoder_sparse_step"},
                                                        {"qwen3_moe", "num_local_experts"},
                                                        {"llama", "rms_norm_eps"},
                                                        {"llama", "rope_theta"},
                                                        {"llama", "tie_word_embeddings"},
                                                        {"llama", "initializer_range"},
                                                        {"llama", "hidden_act"},
                                                        {"llama", "model_type"}}) {
    CAPTURE(model, key);
    CHECK_THAT(config_problem(model, key, nullptr), Contains(key + ": null is "));
  }
  // But where it says that there is none of a thing.
  CHECK_FALSE(model_of(config_of("deepseek_v3_plain")).config.model.q_lora_rank.has_value());
  for (const char* key : {"clip_qkv", "rope_scaling", "head_dim", "quantization_config"})
    CHECK(config_problem("olmoe", key, nullptr) == "");
  CHECK(config_problem("mixtral", "sliding_window", nullptr) == "");
}

TEST_CASE("the latents' norms have the epsilon that transformers builds them with") {
  json config = config_of("deepseek_v3");
  CHECK(model_of(config).config.model.latent_norm_eps == std::nullopt);
  config["rms_norm_eps"] = 1e-5;
  const ModelOptions model = model_of(config).config.model;
  CHECK(model.norm_eps == 1e-5);
  CHECK(model.latent_norm_eps == 1e-6);
}

TEST_CASE("rotary scalings are read as transformers reads them") {
  const auto scaling = [](const char* rope, const char* key = "rope_scaling") {
    json config = config_of("llama");
    config.erase("rope_parameters");
    config[key] = json::parse(rope);
    return model_of(config).config.model.rope_scaling;
  };
  SECTION("what is absent or null has its default, a weight of 0 is none") {
    const RopeScaling plain = scaling(R"({"type": "yarn", "factor": 4, "mscale": 0})");
    CHECK(plain.type == "yarn");
    CHECK(plain.factor == 4);
    CHECK(plain.original_max_seq_len == 64);  // max_position_embeddings
    CHECK(plain.beta_fast == 32);
    CHECK(plain.beta_slow == 1);
    CHECK(plain.truncate);
    CHECK_FALSE(plain.attention_factor.has_value());
    CHECK_FALSE(plain.mscale.has_value());
    CHECK(plain ==
          scaling(R"({"rope_type": "yarn", "factor": 4, "beta_fast": null, "rope_theta": 1e4,
                               "attention_factor": null, "beta_slow": 0})",
                  "rope_parameters"));
    CHECK(scaling(R"({"type": "yarn", "factor": null, "original_max_position_embeddings": 16})")
              .factor == 4);
  }
  SECTION("an original length above the block wins") {
    json config = config_of("llama");
    config["original_max_position_embeddings"] = 8;
    config["rope_parameters"] = json::parse(
        R"({"rope_type": "llama3", "rope_theta": 1e4, "factor": 8, "low_freq_factor": 1,
            "high_freq_factor": 4, "original_max_position_embeddings": 32})");
    CHECK(model_of(config).config.model.rope_scaling.original_max_seq_len == 8);
  }
  SECTION("both blocks must say the same") {
    json config = config_of("llama");
    config["rope_parameters"] = {{"rope_type", "linear"}, {"rope_theta", 1e4}, {"factor", 2}};
    config["rope_scaling"] = {{"type", "linear"}, {"factor", 2}};
    CHECK(bad_input([&] { model_of(config); }) == "");
    config["rope_scaling"]["factor"] = 3;
    CHECK_THAT(bad_input([&] { model_of(config); }),
               Contains("rope_parameters: contradicts rope_scaling"));
  }
  SECTION("what is missing or unusable is named") {
    const auto problem = [&](const char* rope) {
      return config_problem("llama", "rope_parameters", json::parse(rope));
    };
    CHECK_THAT(problem(R"({"type": "linear"})"), Contains("rope_parameters.factor: is missing"));
    CHECK_THAT(problem(R"({"type": "linear", "factor": 0.5})"),
               Contains("rope_parameters.factor: 0.5 is not supported; allowed: at least 1"));
    CHECK_THAT(problem(R"({"type": "llama3", "factor": 8, "high_freq_factor": 4})"),
               Contains("rope_parameters.low_freq_factor: is missing"));
    CHECK_THAT(problem(R"({"type": "llama3", "factor": 8, "low_freq_factor": 4,
                           "high_freq_factor": 4})"),
               Contains("model.rope_scaling.high_freq_factor: 4 is not above low_freq_factor: 4"));
    CHECK_THAT(problem(R"({"type": "yarn", "factor": 4,
                           "original_max_position_embeddings": 16777217})"),
               Contains("original_max_position_embeddings: 16777217 is not an integer from 1 to "
                        "16777216"));
    CHECK_THAT(problem(R"({"type": "yarn", "factor": 4, "mscale": -1})"),
               Contains("rope_parameters.mscale: -1 is not a number above 0"));
    CHECK_THAT(problem(R"({"type": "linear", "factor": 2, "mscale_all_dim": 1})"),
               Contains("rope_parameters.\"mscale_all_dim\": is not supported"));
  }
}

TEST_CASE("two values of one thing contradict each other") {
  json config = config_of("llama");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 1e4}};
  config["rope_scaling"] = {{"type", "default"}, {"rope_theta", 5e4}};
  const auto error = [&] { return bad_input([&] { model_of(config); }); };
  CHECK_THAT(error(), Contains("rope_parameters.rope_theta: 10000 contradicts "
                               "rope_scaling.rope_theta: 50000"));
  config.erase("rope_scaling");
  config["rope_theta"] = 5e5;
  CHECK_THAT(error(), Contains("rope_parameters.rope_theta: 10000 contradicts rope_theta: 500000"));
  config["rope_theta"] = 10000;
  CHECK(error() == "");
  CHECK_THAT(config_problem("qwen3_moe", "num_experts", 13),
             Contains("contradicts num_experts: 13"));
  CHECK_THAT(config_problem("deepseek_v3", "num_mtp_layers", 0), Contains("num_mtp_layers: 0"));
}

TEST_CASE("layers are dense and sparse as the config says") {
  json config = config_of("qwen3_moe_mixed");
  const auto layers = [&](int64_t step, const std::vector<int64_t>& dense) {
    config["decoder_sparse_step"] = step;
    config["mlp_only_layers"] = dense;
    const LayerPattern pattern = model_of(config).config.moe.layers;
    std::vector<int64_t> sparse;
    for (int64_t layer = 0; layer < 3; ++layer)
      if (pattern.contains(layer)) sparse.push_back(layer);
    return sparse;
  };
  using List = std::vector<int64_t>;
  CHECK((layers(1, {1}) == List{0, 2}));
  CHECK((layers(1, {}) == List{0, 1, 2}));
  CHECK((layers(2, {}) == List{1}));
  CHECK((layers(2, {1}) == List{}));
  CHECK((layers(3, {}) == List{2}));
}

TEST_CASE("DeepSeek-V2 and V3 differ in scores, groups and biases") {
  json config = config_of("deepseek_v3");
  const auto read = [&] { return model_of(config).config; };
  TrainConfig v3 = read();
  CHECK(v3.moe.router.type == "deepseek_v3");
  CHECK((v3.moe.bias.type == "sign" && v3.moe.router.groups == 4 && v3.moe.router.scale == 2.5));
  config["model_type"] = "deepseek_v2";
  config["norm_topk_prob"] = false;
  config["topk_method"] = "group_limited_greedy";
  config["q_lora_rank"] = nullptr;
  TrainConfig v2 = read();
  CHECK(
      (v2.moe.bias.type == "none" && v2.moe.router.groups == 4 && v2.moe.router.kept_groups == 2));
  CHECK_FALSE(v2.model.q_lora_rank.has_value());
  config["topk_method"] = "greedy";
  CHECK(read().moe.router.groups == 1);
}

TEST_CASE("config values that are not computed here are named") {
  CHECK_THAT(
      config_problem("llama", "model_type", "gpt2"),
      Contains("config.json: model_type: \"gpt2\" is not supported; allowed: deepseek_v2, "));
  CHECK_THAT(
      config_problem("llama", "rope_scaling", json::parse(R"({"type": "dynamic", "factor": 4})")),
      Contains("rope_scaling.type: \"dynamic\" is not supported; allowed: none, "
               "\"default\", \"linear\", \"llama3\", \"yarn\""));
  CHECK_THAT(config_problem("llama", "hidden_act", "gelu"), Contains("hidden_act: \"gelu\""));
  CHECK_THAT(config_problem("llama", "attention_bias", true), Contains("attention_bias: true"));
  CHECK_THAT(
      config_problem("llama", "quantization_config", json::parse(R"({"quant_method": "fp8"})")),
      Contains("quantization_config: {\"quant_method\":\"fp8\"}"));
  CHECK_THAT(config_problem("mixtral", "sliding_window", 32), Contains("sliding_window: 32"));
  CHECK(config_problem("mixtral", "sliding_window", 64) == "");
  CHECK_THAT(config_problem("mixtral", "num_local_experts", 8.5),
             Contains("num_local_experts: 8.5 is not an integer"));
  CHECK_THAT(config_problem("mixtral", "num_hidden_layers", -1), Contains("num_hidden_layers: -1"));
  CHECK_THAT(config_problem("mixtral", "hidden_size", nullptr),
             Contains("hidden_size: null is not an integer from 1"));
  CHECK_THAT(config_problem("mixtral", "num_experts_per_tok", 9),
             Contains("config.json: moe.top_k: 9 is above moe.num_experts: 8"));
  CHECK_THAT(config_problem("deepseek_v3", "scoring_func", "softmax"), Contains("scoring_func"));
  CHECK_THAT(config_problem("qwen3_moe", "layer_types", json::parse(R"(["sliding_attention"])")),
             Contains("layer_types: \"sliding_attention\""));
  CHECK_THAT(config_problem("deepseek_v2", "rope_interleave", false),
             Contains("rope_interleave: false is not supported; allowed: none, true"));
  CHECK_THAT(config_problem("deepseek_v2", "norm_topk_prob", true), Contains("norm_topk_prob"));
  CHECK_THAT(config_problem("deepseek_v3", "num_key_value_heads", 2),
             Contains("num_key_value_heads: 2 is not supported"));
}

TEST_CASE("a config with more of something than any model has is refused at once") {
  const auto refuses = [](const std::string& model, const std::string& key, const json& value) {
    CHECK_THAT(config_problem(model, key, value), Contains(key + ": "));
  };
  for (const json& huge : {json(1e9), json(1'000'000'000), json(1'000'000'000'000), json(INT64_MAX),
                           json(UINT64_MAX), json(1e300)}) {
    CAPTURE(huge.dump());
    refuses("llama", "num_hidden_layers", huge);
    refuses("llama", "max_position_embeddings", huge);
    refuses("mixtral", "num_local_experts", huge);
    refuses("mixtral", "num_experts_per_tok", huge);
    refuses("deepseek_v3", "n_shared_experts", huge);
  }
  // What a config of ours could not hold.
  for (const char* key : {"hidden_size", "intermediate_size", "num_attention_heads", "v_head_dim",
                          "kv_lora_rank", "q_lora_rank", "moe_intermediate_size"})
    refuses("deepseek_v3", key, 2'000'000);
  refuses("llama", "head_dim", 2'000'000);
  CHECK_THAT(config_problem("llama", "rms_norm_eps", 1e39),
             Contains("rms_norm_eps: 1e+39 is beyond 3.4028235e+38, the largest number of fp32"));
  for (const json& huge : {json(1'000'000'000'000), json(INT64_MAX), json(UINT64_MAX)})
    for (const char* key : {"num_nextn_predict_layers", "hidden_size", "vocab_size",
                            "num_attention_heads", "v_head_dim", "first_k_dense_replace"})
      refuses("deepseek_v3", key, huge);
  json config = config_of("mixtral");
  config["num_hidden_layers"] = 10'000;
  CHECK(bad_input([&] { model_of(config); }) == "");
  config["num_local_experts"] = 21;
  CHECK_THAT(bad_input([&] { model_of(config); }),
             Contains("num_local_experts: 21 in each of 10000 layers are too many"));
}

TEST_CASE("keys that nobody knows are told, not refused") {
  json config = config_of("llama");
  config["something_new"] = 1;
  CHECK_THAT(model_of(config).notes.at(0), Contains("passed over: \"something_new\""));
}
