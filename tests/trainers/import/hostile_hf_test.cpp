#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <iostream>

#include "tests/support/hf_folder.h"

// Folders that someone made to do harm: one error each, on one line, and nothing is left behind.

using namespace switchyard;
using Catch::Matchers::Contains;
using nlohmann::json;
using namespace switchyard::test;

namespace {

/// The error of the import of a folder in `temp`, after which nothing may be left.
std::string import_problem(const TempFolder& temp) {
  SystemFileOps files;
  const std::string error = bad_input([&] { import_hf(files, temp.path("hf"), temp.path("out")); });
  CHECK_FALSE(std::filesystem::exists(temp.path("out")));
  return error;
}

/// The config and the tensors of the smallest golden model in `temp`.
json good_folder(const TempFolder& temp) {
  write_folder(temp, config_of("llama"), tensors_of("llama"));
  return config_of("llama");
}

const std::string kForged = "a\nerror: [io] all is well\x1b[31m\r";
/// Two bytes a character: some cut falls inside one.
const std::string kUmlauts = [] {
  std::string text = "x";
  for (int i = 0; i < 400; ++i) text += "\xc3\xa4";
  return text;
}();

}  // namespace

TEST_CASE("hostile safetensors files are refused as a model and as a shard of one") {
  const auto attacks = hostile_safetensors();
  CHECK(attacks.size() >= 200);
  const TempFolder single, sharded;
  for (const TempFolder* temp : {&single, &sharded})
    temp->write("hf/config.json", config_of("llama").dump());
  sharded.write("hf/model.safetensors.index.json",
                R"({"weight_map": {"lm_head.weight": "model-00001-of-00001.safetensors"}})");
  for (const auto& attack : attacks) {
    CAPTURE(attack.file.substr(0, 300));
    single.write("hf/model.safetensors", attack.file);
    CHECK_THAT(import_problem(single),
               Contains("hf/model.safetensors: ") && Contains(attack.expected));
    sharded.write("hf/model-00001-of-00001.safetensors", attack.file);
    CHECK_THAT(import_problem(sharded),
               Contains("hf/model-00001-of-00001.safetensors: ") && Contains(attack.expected));
  }
  std::cout << "hostile safetensors files: " << attacks.size()
            << ", all refused by the import, alone and as a shard\n";
}

TEST_CASE("no name from a file forges a line of a message, or breaks it") {
  const TempFolder temp;
  json config = good_folder(temp);
  const std::string name =
      GENERATE(as<std::string>{}, kForged, kUmlauts, kUmlauts.substr(1), std::string(5000, 'n'));
  SECTION("a tensor") {
    Tensors tensors = tensors_of("llama");
    tensors[name.substr(0, 1001)] = at::zeros({1});
    write_tensors(temp.path("hf/model.safetensors"), tensors);
    CHECK_THAT(import_problem(temp), Contains("has \""));
  }
  SECTION("a format") {
    SystemFileOps files;
    std::filesystem::remove(temp.path("hf/model.safetensors"));
    write_safetensors(files, temp.path("hf/model.safetensors"), {}, {{"format", name}});
    CHECK_THAT(import_problem(temp), Contains("is of format \""));
  }
  SECTION("an index") {
    std::filesystem::remove(temp.path("hf/model.safetensors"));
    const json bad_file = {{"weight_map", {{name, name}}}};
    temp.write("hf/model.safetensors.index.json", bad_file.dump());
    CHECK_THAT(import_problem(temp), Contains("allowed: the name of a .safetensors file"));
    write_tensors(temp.path("hf/a.safetensors"), tensors_of("llama"));
    const json bad_tensor = {{"weight_map", {{name, "a.safetensors"}}}};
    temp.write("hf/model.safetensors.index.json", bad_tensor.dump());
    CHECK_THAT(import_problem(temp), Contains("has no tensor \""));
  }
  SECTION("a config") {
    for (const char* key : {"model_type", "hidden_act", "hidden_size", "rope_scaling"}) {
      json changed = config;
      changed[key] = name;
      temp.write("hf/config.json", changed.dump());
      CHECK_THAT(import_problem(temp), Contains(std::string(key) + ": \""));
    }
    config["layer_types"] = {name};
    temp.write("hf/config.json", config.dump());
    CHECK_THAT(import_problem(temp), Contains("layer_types: \""));
    config.erase("layer_types");
    config["rope_scaling"] = {{name, 1}};
    temp.write("hf/config.json", config.dump());
    CHECK_THAT(import_problem(temp), Contains("rope_scaling.\""));
    config.erase("rope_scaling");
    for (int i = 0; i < 100; ++i) config[name + std::to_string(i)] = 1;
    SystemFileOps files;
    temp.write("hf/config.json", config.dump());
    const std::string note = read_hf_config(files, temp.path("hf")).notes.at(0);
    CHECK_THAT(note, Contains("passed over: \"") && Contains(" and 95 more"));
    CHECK(is_one_line(note));
    CHECK(note.size() < 5000);
  }
}

TEST_CASE("what is no regular file is refused, and never waited for") {
  const TempFolder temp;
  good_folder(temp);
  const std::string name = GENERATE("config.json", "model.safetensors");
  const std::string path = temp.path("hf/" + name);
  std::filesystem::remove(path);
  SECTION("a named pipe") {
    REQUIRE(mkfifo(path.c_str(), 0600) == 0);
    CHECK_THAT(import_problem(temp), Contains(name + ": not a regular file"));
  }
  SECTION("a folder") {
    std::filesystem::create_directory(path);
    CHECK_THAT(import_problem(temp), Contains(name + ": not a regular file"));
  }
  SECTION("a link to itself") {
    std::filesystem::create_symlink(name, path);
    CHECK_THAT(import_problem(temp), Contains("Too many levels of symbolic links"));
  }
  SECTION("a device without an end") {
    std::filesystem::create_symlink("/dev/zero", path);
    CHECK_THAT(import_problem(temp), Contains(name + ": not a regular file"));
  }
}

TEST_CASE("a folder that cannot be looked at is bad input") {
  SystemFileOps files;
  const TempFolder temp;
  CHECK_THAT(problem(temp.path(std::string(300, 'f'))), Contains("File name too long"));
  std::filesystem::create_symlink("loop", temp.path("loop"));
  CHECK_THAT(problem(temp.path("loop")), Contains("Too many levels of symbolic links"));
}

TEST_CASE("an index and a config that hold more than any real one are refused") {
  const TempFolder temp;
  json config = good_folder(temp);
  std::string zeros = "0";
  for (int i = 0; i < 100'000; ++i) zeros += ",0";
  const auto config_with = [&](const std::string& key, const std::string& value) {
    std::string text = config.dump();
    text.back() = ',';
    temp.write("hf/config.json", text + "\"" + key + "\":" + value + "}");
    return import_problem(temp);
  };
  CHECK_THAT(config_with("extra", "[" + zeros + "]"), Contains("a list of more than 100000"));
  CHECK_THAT(config_with("extra", fmt::format("\"{:x>5000000}\"", "")),
             Contains("at most 4194304 are read"));
  temp.write("hf/config.json", config.dump());
  std::filesystem::remove(temp.path("hf/model.safetensors"));
  temp.write("hf/model.safetensors.index.json", "{\"weight_map\":[" + zeros + "]}");
  CHECK_THAT(import_problem(temp), Contains("a list of more than 64 entries"));
}
