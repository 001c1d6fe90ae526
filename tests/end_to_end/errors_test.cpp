#include <sys/stat.h>

#include <catch2/catch.hpp>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "tests/support/bad_input.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_run.h"

namespace switchyard::test {
namespace {

Words train(const TempFolder& temp, const Words& overrides = {}) {
  Words words = {"train", temp.write("tiny.yaml", kTinyConfig), "run.dir=" + temp.path("run")};
  words.insert(words.end(), overrides.begin(), overrides.end());
  return words;
}

/// Training of a config of one's own.
BadInput yaml(const std::string& name, const std::string& text) {
  return {name, 2, 2, [text](const TempFolder& temp) {
            return Words{"train", temp.write("my.yaml", text), "run.dir=" + temp.path("run")};
          }};
}

/// Training of the small config with overrides.
BadInput override_of(const std::string& name, int ranks, const Words& overrides, int code = 2) {
  return {name, code, ranks,
          [overrides](const TempFolder& temp) { return train(temp, overrides); }};
}

/// Training on a file of these bytes.
BadInput data(const std::string& name, const std::string& file, const std::string& bytes,
              const std::string& block) {
  return {name, 2, 2, [=](const TempFolder& temp) {
            temp.write(file, bytes);
            return Words{"train", temp.write("my.yaml", "data: " + block + "\n"),
                         "run.dir=" + temp.path("run")};
          }};
}

/// A finished run of ten steps, changed by `change`, is asked to go on.
BadInput checkpoint(const std::string& name,
                    const std::function<Words(const TempFolder&)>& change) {
  return {name, 2, 2, [change](const TempFolder& temp) {
            const auto first = run(switchyard(2, train(temp, {"train.steps=10"})), temp.path());
            INFO(first.err);
            REQUIRE(first.code == 0);
            return change(temp);
          }};
}

std::filesystem::path first_shard(const TempFolder& temp) {
  std::vector<std::filesystem::path> shards;
  for (const auto& entry :
       std::filesystem::directory_iterator(temp.path("run/checkpoints/step-00000010")))
    if (entry.path().extension() == ".safetensors") shards.push_back(entry.path());
  REQUIRE_FALSE(shards.empty());
  return *std::min_element(shards.begin(), shards.end());
}

const Words kMustResume = {"train.steps=20", "run.resume=must"};

std::vector<BadInput> config_inputs() {
  return {
      yaml("an unknown key", "moe: {num_expert: 8}\n"),
      yaml("a key of another tool", "model: {hidden_size: 64}\n"),
      yaml("a key in the wrong block", "model: {top_k: 2}\n"),
      yaml("a duplicate key", "train:\n  steps: 10\n  steps: 20\n"),
      yaml("a wrong type", "train: {steps: many}\n"),
      yaml("a number in quotes", "train: {steps: \"10\"}\n"),
      yaml("an unknown router", "moe: {router: {type: mixtrall}}\n"),
      yaml("an option of a type that is not selected",
           "moe: {router: {type: mixtral, score: sigmoid}}\n"),
      yaml("top_k above num_experts", "moe: {num_experts: 4, top_k: 8}\n"),
      yaml("one expert per token with normalised weights",
           "moe: {top_k: 1, router: {normalize: true}}\n"),
      yaml("text that is no YAML", "moe: {top_k: 2\n"),
      yaml("a key that would forge a second line", "moe: {\"num\\nerror: [x] \\e[31m\": 4}\n"),
      yaml("a number that fp32 cannot hold", "moe: {bias: {type: sign, rate: 1e39}}\n"),
      yaml("a coefficient that fp32 cannot hold here",
           "moe: {balance: [{type: load_balance, coef: 1e38, from: deepspeed}]}\n"),
      yaml("a model of too many layers", "model: {num_layers: 1e9}\n"),
      yaml("a list with too many experts", "moe: {num_experts: [16, 16, 1e12, 16]}\n"),
      override_of("an unknown key on the command line", 0, {"optim.learning_rate=1e-3"}),
      override_of("a micro-batch smaller than the ranks", 4,
                  {"train.micro_sequences=2", "train.sequences_per_step=2"}),
      override_of("steps that do not hold whole micro-batches", 0, {"train.micro_sequences=3"}),
      override_of("an expert axis that does not divide the ranks", 4, {"parallel.expert=3"}),
      override_of("an expert axis above the number of experts", 4,
                  {"parallel.expert=4", "moe.num_experts=2"}),
      {"a config file that is not there", 2, 2,
       [](const TempFolder& temp) {
         return Words{"train", temp.path("none.yaml")};
       }},
      {"a config that is a pipe", 2, 2,
       [](const TempFolder& temp) {
         const std::string path = temp.path("my.yaml");
         REQUIRE(mkfifo(path.c_str(), 0600) == 0);
         return Words{"train", path};
       }},
      {"a path that would forge a second line", 2, 2,
       [](const TempFolder& temp) {
         return Words{"train", temp.path("a\nerror: [x] \u202e.yaml")};
       }},
      {"an argument that would forge one", 2, 0,
       [](const TempFolder&) {
         return Words{"config", "check", "a.yaml", "--b\nerror: [x] boo"};
       }},
      {"an unknown command", 2, 2, [](const TempFolder&) { return Words{"trian"}; }},
  };
}

std::vector<BadInput> data_inputs() {
  const std::string tokens = "{type: tokens, paths: [t.bin], format: raw, dtype: u16}";
  return {
      data("a data file that is not there", "other.txt", "text", "{type: text, paths: [none.txt]}"),
      data("an empty data file", "a.txt", "", "{type: text, paths: [a.txt]}"),
      data("a data file too short for one sequence", "a.txt", "short",
           "{type: text, paths: [a.txt]}"),
      data("a truncated token file", "t.bin", std::string(5001, '\1'), tokens),
      {"a token outside the vocabulary", 2, 2,
       [tokens](const TempFolder& temp) {
         std::string bytes(40000, '\0');
         bytes[20] = '\x50';
         temp.write("t.bin", bytes);
         return Words{"train", temp.write("my.yaml", "data: " + tokens + "\n"),
                      "run.dir=" + temp.path("run"), "model.vocab_size=64"};
       }},
      {"a run folder that cannot be written", 2, 2,
       [](const TempFolder& temp) {
         Words words = train(temp);
         words[2] = "run.dir=" + temp.write("file", "") + "/run";
         return words;
       }},
  };
}

/// Imports a small Llama of Hugging Face's layout, whose folder `change` has spoilt.
BadInput import_of(const std::string& name, const std::function<void(const TempFolder&)>& change) {
  return {name, 2, 0, [change](const TempFolder& temp) {
            for (const char* file : {"config.json", "model.safetensors"})
              temp.write(std::string("hf/") + file,
                         read_text(std::filesystem::path(test::source_path()) /
                                   "tests/golden/data/llama" / file));
            change(temp);
            return Words{"ckpt", "import", "--format", "hf", temp.path("hf"), temp.path("out")};
          }};
}

/// Writes `after` for `before` in the config.json of that folder.
void change_config(const TempFolder& temp, const std::string& before, const std::string& after) {
  std::string text = temp.read("hf/config.json");
  const size_t at = text.find(before);
  REQUIRE(at != std::string::npos);
  temp.write("hf/config.json", text.replace(at, before.size(), after));
}

std::vector<BadInput> import_inputs() {
  return {
      import_of("a model family that is not known",
                [](const TempFolder& temp) {
                  change_config(temp, "\"model_type\": \"llama\"", "\"model_type\": \"gpt2\"");
                }),
      import_of("a config value that is not computed here",
                [](const TempFolder& temp) {
                  change_config(temp, "\"rope_type\": \"default\"", "\"rope_type\": \"dynamic\"");
                }),
      import_of("a tensor that is missing",
                [](const TempFolder& temp) {
                  change_config(temp, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3");
                }),
      import_of("tensors that the config does not have",
                [](const TempFolder& temp) {
                  change_config(temp, "\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1");
                }),
      import_of("a tensor of another shape",
                [](const TempFolder& temp) {
                  change_config(temp, "\"intermediate_size\": 48", "\"intermediate_size\": 40");
                }),
      import_of("a shard that is missing",
                [](const TempFolder& temp) {
                  std::filesystem::remove(temp.path("hf/model.safetensors"));
                  temp.write(
                      "hf/model.safetensors.index.json",
                      R"({"weight_map": {"lm_head.weight": "model-00001-of-00002.safetensors"}})");
                }),
      import_of("a truncated safetensors file",
                [](const TempFolder& temp) {
                  std::filesystem::resize_file(temp.path("hf/model.safetensors"), 5000);
                }),
      import_of("a folder that exists already",
                [](const TempFolder& temp) { temp.write("out/mine.txt", ""); }),
      checkpoint("starting from the weights of another model",
                 [](const TempFolder& temp) {
                   Words words = train(temp, {"model.num_layers=3", "moe.top_k=3",
                                              "run.init_from=" + temp.path("run")});
                   words[2] = "run.dir=" + temp.path("other");
                   return words;
                 }),
  };
}

std::vector<BadInput> checkpoint_inputs() {
  return {
      checkpoint("a checkpoint of another model",
                 [](const TempFolder& temp) {
                   return train(temp, {"train.steps=20", "model.num_layers=3"});
                 }),
      checkpoint("a checkpoint of another seed",
                 [](const TempFolder& temp) {
                   return train(temp, {"train.steps=20", "run.seed=2"});
                 }),
      checkpoint("an altered checkpoint",
                 [](const TempFolder& temp) {
                   const auto shard = first_shard(temp);
                   std::string bytes = read_text(shard);
                   bytes.back() = static_cast<char>(bytes.back() ^ 1);
                   std::ofstream(shard, std::ios::binary) << bytes;
                   return train(temp, kMustResume);
                 }),
      checkpoint("a truncated checkpoint",
                 [](const TempFolder& temp) {
                   const auto shard = first_shard(temp);
                   std::filesystem::resize_file(shard, std::filesystem::file_size(shard) / 2);
                   return train(temp, kMustResume);
                 }),
      checkpoint("a checkpoint without one of its files",
                 [](const TempFolder& temp) {
                   std::filesystem::remove(first_shard(temp));
                   return train(temp, kMustResume);
                 }),
      {"a checkpoint of a hash router of another vocabulary", 2, 2,
       [](const TempFolder& temp) {
         Words hash = {"train.steps=10", "moe.router.type=hash", "moe.balance=[]",
                       "moe.bias.type=none"};
         const auto first = run(switchyard(2, train(temp, hash)), temp.path());
         INFO(first.err);
         REQUIRE(first.code == 0);
         hash[0] = "train.steps=20";
         hash.push_back("data.content_tokens=48");
         return train(temp, hash);
       }},
      override_of("no checkpoint where one must be", 2, {"run.resume=must"}),
      override_of("a loss that is not finite", 2,
                  {"optim.lr=1e30", "optim.min_lr=1e30", "optim.warmup_steps=0"}, 3),
  };
}

TEST_CASE("Each bad config gets the one line that docs/errors.md shows") {
  compare_with_docs("config", config_inputs());
}

TEST_CASE("Bad data gets the one line that docs/errors.md shows") {
  compare_with_docs("data", data_inputs());
}

TEST_CASE("Each bad checkpoint and number gets the one line that docs/errors.md shows") {
  compare_with_docs("checkpoint", checkpoint_inputs());
}

TEST_CASE("Each bad import gets the one line that docs/errors.md shows") {
  compare_with_docs("import", import_inputs());
}

TEST_CASE("A loss that is not finite leaves the state before it on disk") {
  const TempFolder temp;
  const auto outcome = run(
      switchyard(2, train(temp, {"optim.lr=1e30", "optim.min_lr=1e30", "optim.warmup_steps=0"})),
      temp.path());
  REQUIRE(outcome.code == 3);
  CHECK(run(switchyard(0, {"ckpt", "verify", temp.path("run")}), temp.path()).code == 0);
}

TEST_CASE("on_nan: skip goes on, the same on all ranks") {
  const TempFolder temp;
  const auto outcome =
      run(switchyard(2, train(temp, {"optim.lr=1e30", "optim.min_lr=1e30", "optim.warmup_steps=0",
                                     "train.on_nan=skip", "train.steps=5", "eval.every=0"})),
          temp.path());
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(summary_of(temp, "run").at("steps") == 5);
}

}  // namespace
}  // namespace switchyard::test
