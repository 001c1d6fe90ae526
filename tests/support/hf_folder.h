#pragma once

#include <ATen/core/Tensor.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "core/base/error.h"
#include "core/checkpoint/safetensors.h"
#include "tests/support/hostile_safetensors.h"
#include "tests/support/paths.h"
#include "tests/support/temp_folder.h"
#include "trainers/import/import_hf.h"

// Hugging Face folders, made of those in tests/golden/data.

namespace switchyard::test {

using Tensors = std::map<std::string, at::Tensor>;

inline std::string golden_folder(const std::string& name) {
  return test::source_path("/tests/golden/data/") + name;
}

inline std::string text_of(const std::string& path) {
  SystemFileOps files;
  return read_file(files, path, 1 << 24);
}

inline nlohmann::json config_of(const std::string& name) {
  return nlohmann::json::parse(text_of(golden_folder(name) + "/config.json"));
}

inline Tensors read_tensors(const std::string& path) {
  SystemFileOps files;
  const SafetensorsFile file(files, path);
  Tensors tensors;
  for (const auto& entry : file.header().tensors) tensors[entry.name] = file.read(entry.name);
  return tensors;
}

inline Tensors tensors_of(const std::string& name) {
  return read_tensors(golden_folder(name) + "/model.safetensors");
}

inline void write_tensors(const std::string& path, const Tensors& tensors) {
  SystemFileOps files;
  StateList list;
  for (const auto& [name, tensor] : tensors) list.push_back({name, tensor});
  std::filesystem::remove(path);
  write_safetensors(files, path, list);
}

/// A Hugging Face folder in `temp`.
inline std::string write_folder(const TempFolder& temp, const nlohmann::json& config,
                                const Tensors& tensors) {
  temp.write("hf/config.json", config.dump());
  write_tensors(temp.path("hf/model.safetensors"), tensors);
  return temp.path("hf");
}

/// Splits the tensors over two shards with an index.
inline std::string write_shards(const TempFolder& temp, const nlohmann::json& config,
                                const Tensors& tensors) {
  temp.write("hf/config.json", config.dump());
  Tensors parts[2];
  nlohmann::json index;
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

/// The error of `work`, one line of printable text with exit code 2; "" for none.
template <class Work>
std::string bad_input(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kBadInput);
    CHECK(is_one_line(error.what()));
    CHECK(std::string(error.what()).size() < 2000);
    return error.what();
  }
  return "";
}

/// The error of a folder.
inline std::string problem(const std::string& folder) {
  SystemFileOps files;
  return bad_input([&] { load_hf(files, folder); });
}

/// What is read from this config.json alone.
inline HfModel model_of(const nlohmann::json& config) {
  SystemFileOps files;
  const TempFolder temp;
  temp.write("hf/config.json", config.dump());
  return read_hf_config(files, temp.path("hf"));
}

/// The error of the config.json of a golden folder with one key changed.
inline std::string config_problem(const std::string& model, const std::string& key,
                                  const nlohmann::json& value) {
  nlohmann::json config = config_of(model);
  config[key] = value;
  return bad_input([&] { model_of(config); });
}

}  // namespace switchyard::test
