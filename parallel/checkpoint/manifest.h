#pragma once

#include <c10/core/ScalarType.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace switchyard {

constexpr const char* kManifestName = "manifest.json";
constexpr int kManifestVersion = 1;

/// What the run says about itself when it saves.
struct CheckpointMetadata {
  int64_t step = 0;         ///< optimizer steps done
  std::string run_id;       ///< of the process that saved; letters, digits, '-' and '_', 1 to 64
  std::string config;       ///< the resolved config, YAML
  std::string fingerprint;  ///< TokenSource::fingerprint(): names the data exactly
  std::map<std::string, std::string>
      topology;                           ///< ranks, expert axis, threads, processor: to be told
  std::map<std::string, double> numbers;  ///< saved, not hashed: wall_s, best metric; finite
};

/// manifest.json: everything a checkpoint must consist of.
struct Manifest {
  struct File {
    std::string name;  ///< in the checkpoint's folder
    uint64_t bytes = 0;
    std::string hash;  ///< XXH3-128 of the file, 32 hex digits
  };
  struct Tensor {
    std::string name;
    at::ScalarType dtype = at::kFloat;
    std::vector<int64_t> shape;
    std::string hash;  ///< XXH3-128 of its bytes
    size_t file = 0;   ///< index into `files`
  };

  CheckpointMetadata metadata;
  std::vector<File> files;
  std::vector<Tensor> tensors;  ///< sorted by name

  /// XXH3-128 of the config's text.
  std::string config_hash() const;
  /// XXH3-128 over the sorted list of (name, dtype, shape, hash): the same for any sharding.
  std::string state_hash() const;
  uint64_t total_bytes() const;
  /// nullptr where the checkpoint has no such tensor.
  const Tensor* find(const std::string& name) const;
};

/// The text of manifest.json. It ends with the hash of itself (with zeros in the hash's place).
std::string write_manifest(const Manifest& manifest);

/// Reads and checks a manifest: its own hash first, then form, names, limits, order and the state
/// hash. Throws CheckpointError "<where>: <problem>".
Manifest parse_manifest(const std::string& text, const std::string& where);

}  // namespace switchyard
