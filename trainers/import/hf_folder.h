#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "core/checkpoint/safetensors.h"

namespace switchyard {

/// The tensors of a Hugging Face folder: model.safetensors, or the shards that
/// model.safetensors.index.json lists. Every header is checked at once, and the index against the
/// shards in both directions. Local; every problem is a CheckpointError that names file and tensor.
class HfFolder {
 public:
  HfFolder(FileOps& files, const std::string& folder);

  const std::string& path() const { return folder_; }
  const std::set<std::string>& names() const { return names_; }
  const TensorEntry& entry(const std::string& name) const { return *places_.at(name).entry; }
  /// Refuses a dtype that read() does not take.
  void check_dtype(const std::string& name) const;
  /// A new tensor in fp32, of BF16, F16 or F32.
  at::Tensor read(const std::string& name) const;

 private:
  struct Place {
    const SafetensorsFile* file;
    const TensorEntry* entry;
  };

  void open(FileOps& files, const std::string& name);
  void open_shards(FileOps& files);
  void check_index(const std::map<std::string, std::string>& index) const;

  std::string folder_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  std::map<std::string, Place> places_;
  std::set<std::string> names_;
};

}  // namespace switchyard
