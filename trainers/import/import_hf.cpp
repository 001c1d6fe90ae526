#include "trainers/import/import_hf.h"

#include <ATen/ops/equal.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "core/checkpoint/tensor_bytes.h"
#include "core/config/forms.h"
#include "parallel/checkpoint/sharded_checkpoint.h"
#include "trainers/import/hf_folder.h"
#include "trainers/import/hf_tensors.h"
#include "trainers/run/checkpoint_manager.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

std::string few(const std::vector<std::string>& names) {
  constexpr size_t kShown = 5;
  const std::vector<std::string> first(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kShown)));
  const std::string more =
      names.size() > kShown ? fmt::format(" and {} more", names.size() - kShown) : "";
  return fmt::format("{}{}", fmt::join(first, ", "), more);
}

/// Tensors that belong to the layout and hold nothing of ours.
bool is_left_out(const std::string& name, const HfModel& model) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  for (int64_t extra = 0; extra < model.extra_layers; ++extra)
    if (name.starts_with(fmt::format("model.layers.{}.", model.config.model.num_layers + extra)))
      return true;
  return false;
}

/// A tied head may be stored beside the embedding, if it is the same.
void check_tied_head(const HfFolder& folder) {
  const std::string head = "lm_head.weight", embedding = "model.embed_tokens.weight";
  if (folder.entry(head).shape != folder.entry(embedding).shape ||
      !at::equal(folder.read(head), folder.read(embedding)))
    throw CheckpointError(
        fmt::format("{}: {} is not {}, but config.json has tie_word_embeddings: true",
                    folder.path(), head, embedding));
}

void check_tensors(const HfFolder& folder, const HfModel& model,
                   const std::vector<HfTarget>& targets) {
  std::set<std::string> wanted;
  std::vector<std::string> missing, unknown;
  for (const HfTarget& target : targets) {
    for (const HfPart& part : target.parts) {
      if (!wanted.insert(part.name).second) continue;
      if (!folder.names().contains(part.name)) {
        missing.push_back(part.name);
      } else if (folder.entry(part.name).shape != part.shape) {
        const TensorEntry& entry = folder.entry(part.name);
        throw CheckpointError(fmt::format("{}: {} is {}, config.json makes it [{}]", folder.path(),
                                          part.name, describe_tensor(entry.dtype, entry.shape),
                                          fmt::join(part.shape, ", ")));
      }
    }
  }
  if (!missing.empty())
    throw CheckpointError(
        fmt::format("{}: lacks {}, which config.json asks for", folder.path(), few(missing)));
  for (const auto& name : folder.names()) {
    if (wanted.contains(name) || is_left_out(name, model)) continue;
    if (name == "lm_head.weight" && model.config.model.tie_embeddings)
      check_tied_head(folder);
    else
      unknown.push_back(name);
  }
  if (!unknown.empty())
    throw CheckpointError(fmt::format("{}: has {}, which a {} of this config.json does not have",
                                      folder.path(), few(unknown), model.type));
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

void write_run(FileOps& files, const ImportedModel& imported, const std::string& out) {
  TrainConfig config = imported.model.config;
  config.run.name = fs::path(out).filename().string();
  config.run.dir = (fs::path("runs") / config.run.name).string();
  const auto comm = make_local_communicator();
  CheckpointMetadata metadata;
  metadata.run_id = make_run_id(*comm);
  metadata.config = resolved_yaml(*Fields::bind(config), Origins{});
  metadata.fingerprint = "imported from a Hugging Face " + imported.model.type;
  metadata.topology = {{"ranks", "1"}};
  save_checkpoint(*comm, files, out + "/checkpoints", imported.state, metadata);
  config.run.init_from = "checkpoints";
  write_file(files, out + "/config.yaml", resolved_yaml(*Fields::bind(config), Origins{}));
  files.sync_folder(out);
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
  const std::string target = fs::path(out).lexically_normal().string();
  const std::string path =
      target.size() > 1 && target.back() == '/' ? target.substr(0, target.size() - 1) : target;
  if (files.kind(path) != FileOps::Kind::kMissing)
    throw ConfigError(path + ": exists already; allowed: the name of a new folder");
  const ImportedModel imported = load_hf(files, folder);
  make_folders(files, path);
  try {
    write_run(files, imported, path);
  } catch (const Error&) {
    remove_tree(files, path);
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
