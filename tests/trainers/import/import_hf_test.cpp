#include "trainers/import/import_hf.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <regex>

#include "core/base/local_communicator.h"
#include "core/config/fields.h"
#include "core/config/forms.h"
#include "parallel/checkpoint/checkpoint_folder.h"
#include "tests/parallel/checkpoint/faulty_file_ops.h"
#include "tests/support/hf_folder.h"
#include "trainers/run/checkpoint_manager.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using nlohmann::json;
using namespace switchyard::test;

namespace {

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

TEST_CASE("tensors that do not fit are named") {
  const TempFolder temp;
  Tensors tensors = tensors_of("deepseek_v3");
  const std::string last = "model.layers.2.mlp.gate.e_score_correction_bias";
  SECTION("unknown") {
    tensors["model.layers.1.mlp.gate.bias"] = torch::zeros({16});
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains("has \"model.layers.1.mlp.gate.bias\", which a deepseek_v3"));
  }
  SECTION("missing") {
    tensors.erase(last);
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains("lacks \"" + last));
  }
  SECTION("an expert missing") {
    tensors.erase("model.layers.2.mlp.experts.15.up_proj.weight");
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains("lacks \"model.layers.2.mlp.experts.15.up_proj.weight\""));
  }
  SECTION("another shape") {
    tensors[last] = torch::zeros({15});
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains(last + "\" is F32 [15], config.json makes it [16]"));
  }
  SECTION("another dtype") {
    tensors[last] = torch::zeros({16}, torch::kLong);
    CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
               Contains(last + "\" is I64 [16]; allowed: F32, BF16, F16"));
  }
  SECTION("but a layer for multi-token prediction is left out") {
    tensors["model.layers.3.eh_proj.weight"] = torch::zeros({2});
    CHECK(same(loaded(write_folder(temp, config_of("deepseek_v3"), tensors)),
               loaded(golden_folder("deepseek_v3"))));
  }
  SECTION("and no name that only begins like one is taken for such a layer") {
    for (const char* layer :
         {"4", "03", "3x", "-3", "+3", " 3", "30", "", "18446744073709551619"}) {
      const std::string name = fmt::format("model.layers.{}.eh_proj.weight", layer);
      tensors[name] = torch::zeros({2});
      CHECK_THAT(problem(write_folder(temp, config_of("deepseek_v3"), tensors)),
                 Contains("has \"" + name + "\", which"));
      tensors.erase(name);
    }
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

TEST_CASE("tensors that do not fit are found before any tensor is read") {
  const Tensors good = tensors_of("qwen3_moe_mixed");
  const std::string head = "lm_head.weight", norm = "model.norm.weight";
  // File operations until the folder is refused.
  const auto operations = [&](const Tensors& tensors, const std::string& expected) {
    const TempFolder temp;
    write_folder(temp, config_of("qwen3_moe_mixed"), tensors);
    SystemFileOps system;
    std::atomic<bool> stopped{false};
    FaultyFileOps files(system, stopped);
    CHECK_THAT(bad_input([&] { load_hf(files, temp.path("hf")); }), Contains(expected));
    return files.count();
  };
  Tensors tensors = good;
  tensors.erase(norm);
  const int64_t headers = operations(tensors, "lacks \"" + norm);
  tensors[norm] = good.at(norm).to(torch::kDouble);
  CHECK(operations(tensors, norm + "\" is F64 [") == headers);
  tensors = good;
  tensors[head] = good.at("model.embed_tokens.weight").to(torch::kDouble);
  CHECK(operations(tensors, head + "\" is F64 [") == headers);
  tensors[head] = good.at("model.embed_tokens.weight") + 1;
  CHECK(operations(tensors, head + " is not model.embed_tokens.weight") > headers);
  tensors["unknown"] = torch::zeros({1});
  CHECK(operations(tensors, "has \"unknown\", which") == headers);
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
    CHECK_THAT(problem(temp.path("hf")), Contains("has no tensor \"lm_head.weight.extra\""));
  }
  SECTION("a shard that holds what the index does not list") {
    write_shards(temp, config, tensors);
    json index = json::parse(temp.read("hf/model.safetensors.index.json"));
    index["weight_map"].erase("lm_head.weight");
    temp.write("hf/model.safetensors.index.json", index.dump());
    CHECK_THAT(problem(temp.path("hf")), Contains("holds \"lm_head.weight\", which"));
  }
  SECTION("an index that leads out of the folder") {
    write_shards(temp, config, tensors);
    for (const char* name : {"../model.safetensors", "/etc/passwd", "", ".safetensors", "a.bin",
                             "a\nb.safetensors", "a\x1b[31m.safetensors", "ä.safetensors"}) {
      json index = json::parse(temp.read("hf/model.safetensors.index.json"));
      index["weight_map"]["lm_head.weight"] = name;
      temp.write("hf/model.safetensors.index.json", index.dump());
      CHECK_THAT(problem(temp.path("hf")), Contains("allowed: the name of a .safetensors file"));
    }
  }
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
  const auto import = [&](const std::string& folder, const std::string& to) {
    return bad_input([&] { import_hf(files, folder, to); });
  };
  CHECK_THAT(import(golden_folder("llama"), out), Contains("out: exists already"));
  CHECK(import(temp.path("none"), temp.path("other")) != "");
  CHECK_FALSE(std::filesystem::exists(temp.path("other")));

  temp.write("file", "");
  CHECK_THAT(import(golden_folder("llama"), ""), Contains("out: is empty"));
  CHECK_THAT(import(golden_folder("llama"), temp.path(".out")),
             Contains("without a leading point"));
  CHECK_THAT(import(golden_folder("llama"), temp.path("file/out")), Contains("cannot make folder"));
  CHECK_THAT(import(golden_folder("llama"), temp.path(std::string(300, 'o'))),
             Contains("File name too long"));
}

TEST_CASE("the config of an import says what config.json said, with its origin, and no more") {
  SystemFileOps files;
  const auto comm = make_local_communicator();
  for (const std::string model : {"llama", "mixtral", "olmoe_grouped", "qwen2_moe_every_second",
                                  "qwen3_moe_mixed", "deepseek_v2_greedy", "deepseek_v3_plain"}) {
    CAPTURE(model);
    const TempFolder temp;
    import_hf(files, golden_folder(model), temp.path("out"));
    const std::string text =
        std::regex_replace(temp.read("out/config.yaml"), std::regex(" +#"), " #");
    CAPTURE(text);
    CHECK_THAT(text, Contains("hidden_dim: 32 # config.json: hidden_size\n"));
    CHECK_THAT(text, Contains("name: out # ckpt import\n"));
    CHECK_THAT(text, !Contains("default\n") && !Contains("capacity") && !Contains("optim"));

    // Whoever trains on from it is not told about keys that he never wrote.
    const LoadedConfig config = load_config(temp.path("out/config.yaml"), {}, "");
    CHECK(config.notes == std::vector<std::string>{});
    TrainConfig read = config.config;
    read.run = {};
    TrainConfig saved = saved_config(open_checkpoint(*comm, files, temp.path("out")));
    saved.run = {};
    CHECK(diff(Fields::bind(saved)->present(), Fields::bind(read)->present()) == "");
  }
}

TEST_CASE("a file operation that fails leaves nothing behind, and its error is the one reported") {
  SystemFileOps files;
  std::atomic<bool> stopped{false};
  FaultyFileOps counting(files, stopped);
  const TempFolder temp;
  import_hf(counting, golden_folder("llama"), temp.path("first"));
  CHECK(counting.count() > 40);
  for (int64_t at = 0; at < counting.count(); ++at) {
    CAPTURE(at);
    const std::string out = temp.path("out");
    FaultyFileOps failing(files, stopped, Fault::kError, at);
    CHECK_THROWS_WITH(import_hf(failing, golden_folder("llama"), out),
                      Contains("No space left on device"));
    CHECK_FALSE(std::filesystem::exists(out));
    // The operation after it, which would clear up, fails too.
    std::atomic<bool> ended{false};
    FaultyFileOps ending(files, ended, Fault::kStopBefore, at);
    FaultyFileOps both(ending, stopped, Fault::kError, at);
    CHECK_THROWS_WITH(import_hf(both, golden_folder("llama"), out),
                      Contains("No space left on device"));
    std::filesystem::remove_all(out);
  }
}
