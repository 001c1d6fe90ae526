#include "trainers/import/import_hf.h"

#include <ATen/ops/equal.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <string_view>

#include "core/base/as_bad_input.h"
#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "core/checkpoint/strict_json.h"
#include "core/checkpoint/tensor_bytes.h"
#include "core/config/fields.h"
#include "core/config/forms.h"
#include "core/config/yaml.h"
#include "parallel/checkpoint/sharded_checkpoint.h"
#include "trainers/import/hf_folder.h"
#include "trainers/import/hf_tensors.h"
#include "trainers/run/checkpoint_manager.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr const char* kHead = "lm_head.weight";

/// The layer that a tensor belongs to, 17 of "model.layers.17.mlp.gate.weight"; −1 for none.
int64_t layer_of(std::string_view name) {
  constexpr std::string_view kStart = "model.layers.";
  if (!name.starts_with(kStart)) return -1;
  name.remove_prefix(kStart.size());
  int64_t layer = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
  const auto digits = static_cast<size_t>(end - name.data());
  const bool plain = error == std::errc() && name[0] != '-' && (name[0] != '0' || digits == 1);
  return plain && name.substr(digits).starts_with('.') ? layer : -1;
}

/// Tensors that belong to the layout and hold nothing of ours.
bool is_left_out(const std::string& name, const HfModel& model) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  const int64_t extra = layer_of(name) - model.config.model.num_layers;
  return extra >= 0 && extra < model.extra_layers;
}

/// A tied head may be stored beside the embedding, if it is the same.
void check_tied_head(const HfFolder& folder) {
  const std::string embedding = "model.embed_tokens.weight";
  if (folder.entry(kHead).shape != folder.entry(embedding).shape ||
      !at::equal(folder.read(kHead), folder.read(embedding)))
    throw CheckpointError(
        fmt::format("{}: {} is not {}, but config.json has tie_word_embeddings: true",
                    folder.path(), kHead, embedding));
}

void check_entry(const HfFolder& folder, const HfPart& part) {
  const TensorEntry& entry = folder.entry(part.name);
  if (entry.shape != part.shape)
    throw CheckpointError(
        fmt::format("{}: {} is {}, config.json makes it [{}]", folder.path(), shown_name(part.name),
                    describe_tensor(entry.dtype, entry.shape), fmt::join(part.shape, ", ")));
  folder.check_dtype(part.name);
}

void check_tensors(const HfFolder& folder, const HfModel& model,
                   const std::vector<HfTarget>& targets) {
  std::set<std::string> wanted;
  std::vector<std::string> missing, unknown;
  for (const HfTarget& target : targets) {
    for (const HfPart& part : target.parts) {
      if (!wanted.insert(part.name).second) continue;
      if (folder.names().contains(part.name))
        check_entry(folder, part);
      else
        missing.push_back(part.name);
    }
  }
  if (!missing.empty())
    throw CheckpointError(fmt::format("{}: lacks {}, which config.json asks for", folder.path(),
                                      shown_names(missing)));
  const bool copied_head = model.config.model.tie_embeddings && folder.names().contains(kHead);
  if (copied_head) {
    folder.check_dtype(kHead);
    wanted.insert(kHead);
  }
  for (const auto& name : folder.names())
    if (!wanted.contains(name) && !is_left_out(name, model)) unknown.push_back(name);
  if (!unknown.empty())
    throw CheckpointError(fmt::format("{}: has {}, which a {} of this config.json does not have",
                                      folder.path(), shown_names(unknown), model.type));
  if (copied_head) check_tied_head(folder);
}

/// Reads each file tensor once, though many targets share a fused one.
class Reader {
 public:
  explicit Reader(const HfFolder& folder) : folder_(folder) {}
  at::Tensor operator()(const std::string& name) {
    if (name != last_name_) {
      last_ = folder_.read(name);
      last_name_ = name;
    }
    return last_;
  }

 private:
  const HfFolder& folder_;
  std::string last_name_;
  at::Tensor last_;
};

/// Targets of one file tensor next to each other.
void group_by_source(std::vector<HfTarget>& targets) {
  std::stable_sort(targets.begin(), targets.end(), [](const HfTarget& a, const HfTarget& b) {
    return a.parts.front().name < b.parts.front().name;
  });
}

/// The folder to write, which must not be there.
std::string new_folder(FileOps& files, const std::string& out) {
  if (out.empty()) throw ConfigError("out: is empty; allowed: the name of a new folder");
  std::string path = fs::path(out).lexically_normal().string();
  if (path.size() > 1 && path.back() == '/') path.pop_back();
  const auto kind = as_bad_input<ConfigError>([&] { return files.kind(path); });
  if (kind != FileOps::Kind::kMissing)
    throw ConfigError(path + ": exists already; allowed: the name of a new folder");
  if (fs::path(path).filename().string().starts_with('.'))
    throw ConfigError(path + ": cannot name a run; allowed: a name without a leading point");
  return path;
}

/// Keeps only what has an origin. The rest is at its default, and a config that says so would look
/// as if someone had set it.
void keep_known(Value& value, const Origins& origins) {
  for (auto& [key, child] : value.map)
    if (!origins.find(child.path)) keep_known(child, origins);
  std::erase_if(value.map, [&](const auto& entry) {
    return !origins.find(entry.second.path) && entry.second.map.empty();
  });
}

/// The config of a run that starts from the import.
std::string run_yaml(const HfModel& model, const std::string& name) {
  TrainConfig config = model.config;
  Origins origins = model.origins;
  config.run.name = name;
  config.run.dir = (fs::path("runs") / name).string();
  config.run.init_from = "checkpoints";
  for (const char* key : {"run.name", "run.dir", "run.init_from"})
    origins.set(key, {"ckpt import", 0, 0});
  Value written = Fields::bind(config)->present();
  keep_known(written, origins);
  return to_yaml(written, [&](const Value& value) { return origins.text(value.path); });
}

void write_run(FileOps& files, const ImportedModel& imported, const std::string& out) {
  TrainConfig config = imported.model.config;
  config.run.name = fs::path(out).filename().string();
  config.run.dir = (fs::path("runs") / config.run.name).string();
  const auto comm = make_local_communicator();
  CheckpointMetadata metadata;
  metadata.run_id = make_run_id(*comm);
  metadata.config = resolved_yaml(*Fields::bind(config), imported.model.origins);
  metadata.fingerprint = "imported from a Hugging Face " + imported.model.type;
  metadata.topology = {{"ranks", "1"}};
  save_checkpoint(*comm, files, out + "/checkpoints", imported.state, metadata);
  write_file(files, out + "/config.yaml", run_yaml(imported.model, config.run.name));
  files.sync_folder(out);
}

/// As far as that is possible: the error that ends the import is the one to report.
void remove_remains(FileOps& files, const std::string& out) {
  try {
    if (files.kind(out) != FileOps::Kind::kMissing) remove_tree(files, out);
  } catch (const Error&) {
  }
}

}  // namespace

ImportedModel load_hf(FileOps& files, const std::string& folder) {
  ImportedModel imported{read_hf_config(files, folder), {}};
  const HfFolder tensors(files, folder);
  std::vector<HfTarget> targets = hf_targets(imported.model, tensors.names());
  check_tensors(tensors, imported.model, targets);
  group_by_source(targets);
  Reader reader(tensors);
  for (const HfTarget& target : targets)
    imported.state.push_back({target.name, assemble(target, std::ref(reader)).contiguous()});
  return imported;
}

std::string import_hf(FileOps& files, const std::string& folder, const std::string& out) {
  const std::string path = new_folder(files, out);
  const ImportedModel imported = load_hf(files, folder);
  try {
    as_bad_input<ConfigError>([&] { make_folders(files, path); });
    write_run(files, imported, path);
  } catch (...) {
    remove_remains(files, path);
    throw;
  }
  std::string text;
  for (const auto& note : imported.model.notes) text += note + "\n";
  int64_t numbers = 0;
  for (const StateItem& item : imported.state) numbers += item.tensor.numel();
  return text + fmt::format("imported {} of {} layers, {} tensors, {} numbers, as {}\n",
                            imported.model.type, imported.model.config.model.num_layers,
                            imported.state.size(), numbers, path);
}

}  // namespace switchyard
