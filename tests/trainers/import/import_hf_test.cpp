#include "trainers/import/import_hf.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "core/checkpoint/safetensors.h"
#include "parallel/checkpoint/checkpoint_folder.h"
#include "tests/support/temp_folder.h"
#include "trainers/run/checkpoint_manager.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using nlohmann::json;
using test::TempFolder;

namespace {

using Tensors = std::map<std::string, at::Tensor>;

std::string golden_folder(const std::string& name) {
  return SWITCHYARD_SOURCE_DIR "/tests/golden/data/" + name;
}

std::string text_of(const std::string& path) {
  SystemFileOps files;
  return read_file(files, path, 1 << 24);
}

json config_of(const std::string& name) {
  return json::parse(text_of(golden_folder(name) + "/config.json"));
}

Tensors tensors_of(const std::string& name) {
  SystemFileOps files;
  const SafetensorsFile file(files, golden_folder(name) + "/model.safetensors");
  Tensors tensors;
  for (const auto& entry : file.header().tensors) tensors[entry.name] = file.read(entry.name);
  return tensors;
}

void write_tensors(const std::string& path, const Tensors& tensors) {
  SystemFileOps files;
  StateList list;
  for (const auto& [name, tensor] : tensors) list.push_back({name, tensor});
  std::filesystem::remove(path);
  write_safetensors(files, path, list);
}

/// A Hugging Face folder in `temp`.
std::string write_folder(const TempFolder& temp, const json& config, const Tensors& tensors) {
  temp.write("hf/config.json", config.dump());
  write_tensors(temp.path("hf/model.safetensors"), tensors);
  return temp.path("hf");
}

/// Splits the tensors over two shards with an index.
std::string write_shards(const TempFolder& temp, const json& config, const Tensors& tensors) {
  temp.write("hf/config.json", config.dump());
  Tensors parts[2];
  json index;
  index["metadata"]["total_size"] = 1;
  size_t i = 0;
  for (const auto& [name, tensor] : tensors) {
    const size_t part = i++ % 2;
    parts[part][name] = tensor;
    index["weight_map"][name] = "model-0000" + std::to_string(part + 1) + "-of-00002.safetensors";
  }
  write_tensors(temp.path("hf/model-00001-of-00002.safetensors"), parts[0]);
  write_tensors(temp.path("hf/model-00002-of-00002.safetensors"), parts[1]);
  temp.write("hf/model.safetensors.index.json", index.dump());
  return temp.path("hf");
}

std::map<std::string, at::Tensor> loaded(const std::string& folder) {
  SystemFileOps files;
  std::map<std::string, at::Tensor> state;
  for (const auto& item : load_hf(files, folder).state) {
    CHECK(item.tensor.scalar_type() == at::kFloat);
    CHECK(state.emplace(item.name, item.tensor).second);
  }
  return state;
}

bool same(const std::map<std::string, at::Tensor>& a, const std::map<std::string, at::Tensor>& b) {
  if (a.size() != b.size()) return false;
  for (const auto& [name, tensor] : a)
    if (!b.contains(name) || !at::equal(tensor, b.at(name))) return false;
  return true;
}

/// The error of a folder, with its exit code checked; "" for none.
std::string problem(const std::string& folder) {
  SystemFileOps files;
  try {
    load_hf(files, folder);
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kBadInput);
    CHECK(std::string(error.what()).find('\n') == std::string::npos);
    return error.what();
  }
  return "";
}

/// The same for a config.json with one key changed.
std::string config_problem(const std::string& model, const std::string& key, const json& value) {
  const TempFolder temp;
  json config = config_of(model);
  config[key] = value;
  return problem(write_folder(temp, config, tensors_of(model)));
}

}  // namespace

TEST_CASE("shards with an index hold the same model as one file") {
  const TempFolder temp;
  const auto tensors = tensors_of("olmoe");
  CHECK(same(loaded(write_shards(temp, config_of("olmoe"), tensors)),
             loaded(golden_folder("olmoe"))));
}

TEST_CASE("experts fused in one tensor are the same as experts of a tensor each") {
  const std::string model = GENERATE("mixtral", "qwen3_moe");
  Tensors fused;
  std::map<std::string, std::map<int64_t, std::map<std::string, at::Tensor>>> experts;
  const bool mixtral = model == "mixtral";
  const std::string mark = mixtral ? ".block_sparse_moe.experts." : ".mlp.experts.";
  for (const auto& [name, tensor] : tensors_of(model)) {
    const size_t at = name.find(mark), gate = name.find(".block_sparse_moe.gate.");
    if (at != std::string::npos) {
      const std::string rest = name.substr(at + mark.size());
      const size_t dot = rest.find('.');
      experts[name.substr(0, at)][std::stoll(rest)][rest.substr(dot + 1)] = tensor;
    } else if (gate != std::string::npos) {
      fused[name.substr(0, gate) + ".mlp.gate.weight"] = tensor;
    } else {
      fused[name] = tensor;
    }
  }
  for (const auto& [layer, of_layer] : experts) {
    std::vector<at::Tensor> gate_up, down;
    for (const auto& [number, parts] : of_layer) {
      gate_up.push_back(at::cat({parts.at(mixtral ? "w1.weight" : "gate_proj.weight"),
                                 parts.at(mixtral ? "w3.weight" : "up_proj.weight")}));
      down.push_back(parts.at(mixtral ? "w2.weight" : "down_proj.weight"));
    }
    fused[layer + ".mlp.experts.gate_up_proj"] = at::stack(gate_up);
    fused[layer + ".mlp.experts.down_proj"] = at::stack(down);
  }
  const TempFolder temp;
  CHECK(same(loaded(write_folder(temp, config_of(model), fused)), loaded(golden_folder(model))));
}

TEST_CASE("bf16 and f16 become fp32") {
  for (const auto dtype : {at::kBFloat16, at::kHalf}) {
    const TempFolder temp;
    Tensors tensors = tensors_of("llama");
    std::map<std::string, at::Tensor> expected = loaded(golden_folder("llama"));
    for (auto& [name, tensor] : tensors) tensor = tensor.to(dtype);
    for (auto& [name, tensor] : expected) tensor = tensor.to(dtype).to(at::kFloat);
    CHECK(same(loaded(write_folder(temp, config_of("llama"), tensors)), expected));
  }
}

TEST_CASE("configs of transformers 4 say the same as those of 5") {
  SystemFileOps files;
  json config = config_of("qwen3_moe");
  config["rope_theta"] = 1e6;
  config["rope_scaling"] = nullptr;
  config["torch_dtype"] = "bfloat16";
  config["num_experts"] = config["num_local_experts"];
  for (const char* key : {"rope_parameters", "dtype", "num_local_experts"}) config.erase(key);
  const TempFolder temp;
  const auto model = read_hf_config(files, write_folder(temp, config, tensors_of("qwen3_moe")));
  CHECK(model.config.model.rope_theta == 1e6);
  CHECK(model.config.moe.num_experts == 12);
  CHECK(model.config.model.qk_norm == "head");
  CHECK(model.notes.empty());
}

TEST_CASE("layers are dense and sparse as the config says") {
  SystemFileOps files;
  const TempFolder temp;
  json config = config_of("qwen3_moe_mixed");
  const auto layers = [&](int64_t step, const std::vector<int64_t>& dense) {
    config["decoder_sparse_step"] = step;
    config["mlp_only_layers"] = dense;
    temp.write("hf/config.json", config.dump());
    const LayerPattern pattern = read_hf_config(files, temp.path("hf")).config.moe.layers;
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
  SystemFileOps files;
  const TempFolder temp;
  json config = config_of("deepseek_v3");
  const auto read = [&] {
    temp.write("hf/config.json", config.dump());
    return read_hf_config(files, temp.path("hf")).config;
  };
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

TEST_CASE("tensors that do not fit are named") {
  const TempFolder temp;
  Tensors tensors = tensors_of("deepseek_v3");
  const std::string last = "model.layers.2.mlp.gate.e_score_correction_bias";
  SECTION("unknown") {
    tensors["model.layers.1.mlp.gate.bias"] = torch::zeros({16});
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains("has model.layers.1.mlp.gate.bias, which a deepseek_v3"));
  }
  SECTION("missing") {
    tensors.erase(last);
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains("lacks " + last));
  }
  SECTION("an expert missing") {
    tensors.erase("model.layers.2.mlp.experts.15.up_proj.weight");
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains("lacks model.layers.2.mlp.experts.15.up_proj.weight"));
  }
  SECTION("another shape") {
    tensors[last] = torch::zeros({15});
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains(last + " is F32 [15], config.json makes it [16]"));
  }
  SECTION("another dtype") {
    tensors[last] = torch::zeros({16}, torch::kLong);
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains(last + " is I64 [16]; allowed: F32, BF16, F16"));
  }
  SECTION("but a layer for multi-token prediction is left out") {
    tensors["model.layers.3.eh_proj.weight"] = torch::zeros({2});
    CHECK(same(loaded(write_folder(temp, config_of("deepseek_v3"), tensors)),
               loaded(golden_folder("deepseek_v3"))));
  }
}

TEST_CASE("a tied head may be stored, if it is the embedding") {
  const TempFolder temp;
  Tensors tensors = tensors_of("qwen3_moe_mixed");
  tensors["lm_head.weight"] = tensors.at("model.embed_tokens.weight").clone();
  CHECK(problem(write_folder(temp, config_of("qwen3_moe_mixed"), tensors)) == "");
  tensors["lm_head.weight"][0][0] += 1;
  CHECK_THAT(problem(write_folder(temp, config_of("qwen3_moe_mixed"), tensors)),
             Contains("lm_head.weight is not model.embed_tokens.weight"));
}

TEST_CASE("damaged folders are named") {
  const TempFolder temp;
  const json config = config_of("llama");
  const Tensors tensors = tensors_of("llama");
  SECTION("no folder") {
    CHECK_THAT(problem(temp.path("none")), Contains("none/config.json: no such file"));
  }
  SECTION("no tensors") {
    temp.write("hf/config.json", config.dump());
    CHECK_THAT(problem(temp.path("hf")), Contains("holds neither model.safetensors nor"));
  }
  SECTION("a config that is no JSON") {
    write_folder(temp, config, tensors);
    temp.write("hf/config.json", "{\"model_type\": ");
    CHECK_THAT(problem(temp.path("hf")), Contains("config.json: not valid JSON"));
  }
  SECTION("a truncated file") {
    write_folder(temp, config, tensors);
    const auto path = temp.path("hf/model.safetensors");
    std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
    CHECK_THAT(problem(temp.path("hf")), Contains("model.safetensors"));
  }
  SECTION("a hostile header") {
    write_folder(temp, config, tensors);
    temp.write("hf/model.safetensors", std::string(8, '\xff') + "{}");
    CHECK_THAT(problem(temp.path("hf")), Contains("at most 100000000"));
  }
  SECTION("a missing shard") {
    write_shards(temp, config, tensors);
    std::filesystem::remove(temp.path("hf/model-00002-of-00002.safetensors"));
    CHECK_THAT(problem(temp.path("hf")), Contains("model-00002-of-00002.safetensors: missing"));
  }
  SECTION("an index that lists what a shard does not hold") {
    write_shards(temp, config, tensors);
    json index = json::parse(temp.read("hf/model.safetensors.index.json"));
    index["weight_map"]["lm_head.weight.extra"] = index["weight_map"]["lm_head.weight"];
    temp.write("hf/model.safetensors.index.json", index.dump());
    CHECK_THAT(problem(temp.path("hf")), Contains("has no tensor lm_head.weight.extra"));
  }
  SECTION("a shard that holds what the index does not list") {
    write_shards(temp, config, tensors);
    json index = json::parse(temp.read("hf/model.safetensors.index.json"));
    index["weight_map"].erase("lm_head.weight");
    temp.write("hf/model.safetensors.index.json", index.dump());
    CHECK_THAT(problem(temp.path("hf")), Contains("holds lm_head.weight, which"));
  }
  SECTION("an index that leads out of the folder") {
    write_shards(temp, config, tensors);
    for (const char* name : {"../model.safetensors", "/etc/passwd", "", ".safetensors", "a.bin"}) {
      json index = json::parse(temp.read("hf/model.safetensors.index.json"));
      index["weight_map"]["lm_head.weight"] = name;
      temp.write("hf/model.safetensors.index.json", index.dump());
      CHECK_THAT(problem(temp.path("hf")), Contains("allowed: the name of a .safetensors file"));
    }
  }
}

TEST_CASE("config values that are not computed here are named") {
  CHECK_THAT(config_problem("llama", "model_type", "gpt2"),
             Contains("config.json: model_type: `gpt2` is not supported; allowed: deepseek_v2, "));
  CHECK_THAT(
      config_problem("llama", "rope_scaling", json::parse(R"({"type": "yarn", "factor": 4})")),
      Contains("rope_scaling.type: \"yarn\" is not supported; allowed: none, \"default\""));
  CHECK_THAT(config_problem("llama", "rope_parameters", json::parse(R"({"rope_type": "llama3"})")),
             Contains("rope_parameters.rope_type: \"llama3\" is not supported"));
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
             Contains("hidden_size: is missing"));
  CHECK_THAT(config_problem("mixtral", "num_experts_per_tok", 9),
             Contains("config.json: moe.top_k: 9 is above moe.num_experts: 8"));
  CHECK_THAT(config_problem("deepseek_v3", "scoring_func", "softmax"), Contains("scoring_func"));
  CHECK_THAT(config_problem("qwen3_moe", "layer_types", json::parse(R"(["sliding_attention"])")),
             Contains("layer_types: sliding_attention"));
}

TEST_CASE("keys that nobody knows are told, not refused") {
  SystemFileOps files;
  const TempFolder temp;
  json config = config_of("llama");
  config["something_new"] = 1;
  temp.write("hf/config.json", config.dump());
  CHECK_THAT(read_hf_config(files, temp.path("hf")).notes.at(0),
             Contains("passed over: something_new"));
}

TEST_CASE("import writes a checkpoint with its config, and never over anything") {
  SystemFileOps files;
  const TempFolder temp;
  const std::string out = temp.path("out");
  CHECK_THAT(import_hf(files, golden_folder("olmoe"), out + "/"), Contains("imported olmoe"));
  const auto comm = make_local_communicator();
  const auto checkpoint = open_checkpoint(*comm, files, out);
  CHECK(checkpoint.manifest.metadata.step == 0);
  CHECK(saved_config(checkpoint).moe.num_experts == 16);
  CHECK(saved_config(checkpoint).model.vocab_size == 96);
  CHECK(std::filesystem::exists(out + "/config.yaml"));
  CHECK_THROWS_WITH(import_hf(files, golden_folder("llama"), out), Contains("out: exists already"));

  CHECK_THROWS(import_hf(files, temp.path("none"), temp.path("other")));
  CHECK_FALSE(std::filesystem::exists(temp.path("other")));
}
