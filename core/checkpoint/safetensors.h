#pragma once

#include <ATen/core/Tensor.h>

#include <map>
#include <string>
#include <vector>

#include "core/checkpoint/file_ops.h"
#include "core/checkpoint/safetensors_header.h"
#include "core/checkpoint/state.h"

namespace switchyard {

/// What a file holds, with XXH3-128 hashes of the file and of each tensor's bytes.
struct HashedTensor {
  TensorEntry entry;
  std::string hash;
};
struct HashedFile {
  uint64_t bytes = 0;
  std::string hash;
  std::vector<HashedTensor> tensors;  ///< by offset
};

/// A safetensors file, open for reading: the header is read and checked in full, tensors when asked
/// for. A damaged file throws CheckpointError naming file and tensor; one that cannot be opened or
/// read throws IoError.
class SafetensorsFile {
 public:
  SafetensorsFile(FileOps& files, const std::string& path);

  const SafetensorsHeader& header() const { return header_; }
  const std::string& path() const { return file_.handle().path; }

  /// A new tensor in host memory. A name that the file lacks throws CheckpointError.
  at::Tensor read(const std::string& name) const;
  /// Overwrites `target`, which must have the stored dtype and shape (CheckpointError) and may be
  /// any view on any device. Returns the hash of the bytes read.
  std::string read_into(const TensorEntry& entry, at::Tensor target) const;
  /// Reads the whole file once.
  HashedFile hash() const;

 private:
  OpenFile file_;
  SafetensorsHeader header_;
};

/// Writes a new file in canonical order, with `__metadata__` {"format": "pt"}: the same tensors
/// give the same bytes in any order of `tensors`. On the disk on return. Throws IoError, or
/// CheckpointError for names and dtypes that the format cannot hold.
HashedFile write_safetensors(FileOps& files, const std::string& path, const StateList& tensors,
                             const std::map<std::string, std::string>& metadata = {
                                 {"format", "pt"}});

/// The same under a name that may be taken: by way of `path`.partial, so that `path` holds at every
/// moment what it held or the whole new file. The name is on the disk on return, too; an error
/// leaves no `path`.partial.
void replace_safetensors(FileOps& files, const std::string& path, const StateList& tensors,
                         const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

}  // namespace switchyard
