#include "trainers/run/init_from.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "core/base/error.h"
#include "core/checkpoint/strict_json.h"
#include "core/config/fields.h"
#include "core/config/forms.h"
#include "trainers/run/checkpoint_manager.h"

namespace switchyard {
namespace {

const std::vector<std::string> kMayDiffer = {
    "model.max_seq_len", "model.init",    "model.init_std",    "moe.balance",
    "moe.bias",          "moe.capacity",  "moe.force",         "moe.router.jitter",
    "moe.router.init",   "moe.router.l1", "moe.router.l1_rate"};

void erase_free(Value& value) {
  std::erase_if(value.map, [](const auto& entry) {
    return std::find(kMayDiffer.begin(), kMayDiffer.end(), entry.second.path) != kMayDiffer.end();
  });
  for (auto& [key, child] : value.map) erase_free(child);
}

/// What decides how weights are used.
Value meaning_of(TrainConfig config) {
  if (config.num_moe_layers() == 0) {
    config.moe = {};
    config.moe.layers.kind = LayerPattern::Kind::kNone;
  }
  if (RopeScaling& scaling = config.model.rope_scaling; !scaling.original_max_seq_len)
    scaling.original_max_seq_len = config.model.max_seq_len;  // which may differ
  Value all = Fields::bind(config)->present();
  std::erase_if(all.map,
                [](const auto& entry) { return entry.first != "model" && entry.first != "moe"; });
  erase_free(all);
  return all;
}

std::string on_one_line(std::string text) {
  while (!text.empty() && text.back() == '\n') text.pop_back();
  for (size_t at; (at = text.find('\n')) != std::string::npos;) text.replace(at, 1, ", ");
  return text;
}

/// Whether the seed decides which experts a token goes to: such a table is in no checkpoint.
bool routes_by_seed(const TrainConfig& config) {
  return config.num_moe_layers() > 0 && config.moe.router.type == "hash" &&
         config.moe.router.table != "balanced";
}

void check_meaning(const VerifiedCheckpoint& checkpoint, const TrainConfig& now) {
  TrainConfig saved = saved_config(checkpoint);
  if (!saved.model.vocab_size) saved.model.vocab_size = now.model.vocab_size;
  if (saved.model.rope_scaling.type == "none")  // longer sequences are what scaling is for
    saved.model.rope_scaling = now.model.rope_scaling;
  const std::string differences = on_one_line(diff(meaning_of(saved), meaning_of(now)));
  if (!differences.empty())
    throw CheckpointError(fmt::format("{}: run.init_from needs the same model and moe: {}",
                                      checkpoint.folder, differences));
  if (routes_by_seed(now) && saved.run.seed != now.run.seed)
    throw CheckpointError(fmt::format(
        "{}: run.init_from needs the same run.seed, from which moe.router.table: {} is made: "
        "{} → {}",
        checkpoint.folder, now.moe.router.table, saved.run.seed, now.run.seed));
}

bool is_router_bias(const std::string& name) {
  return name.ends_with(".router_bias");
}

/// State of a rule that moves biases or capacity: a fresh run starts it afresh.
bool is_controller(const std::string& name) {
  return name.starts_with("controllers.") || name.find(".router_bias_") != std::string::npos;
}

/// A bias that is dropped, or multiplied instead of added, would change which experts are selected.
void check_biases(const VerifiedCheckpoint& checkpoint, const TrainConfig& now) {
  const BiasOptions& bias = now.moe.bias;
  const BiasOptions saved = saved_config(checkpoint).moe.bias;
  if (bias.type != "none" && bias.multiplies() == saved.multiplies()) return;
  for (const auto& tensor : checkpoint.manifest.tensors)
    if (is_router_bias(tensor.name))
      throw CheckpointError(fmt::format(
          "{}: holds {} of moe.bias.type: {}, but moe.bias.type is {}; allowed: a type that {} it, "
          "such as {{type: {}, rate: 0}}",
          checkpoint.folder, shown_name(tensor.name), saved.type, bias.type,
          saved.multiplies() ? "multiplies by" : "adds",
          saved.multiplies() ? "multiplicative" : "sign"));
}

}  // namespace

std::vector<std::string> init_from(Communicator& comm, FileOps& files, const std::string& path,
                                   const TrainConfig& now, const StateList& state) {
  const VerifiedCheckpoint checkpoint = open_checkpoint(comm, files, path);
  check_meaning(checkpoint, now);
  check_biases(checkpoint, now);
  StateList stored;
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;  // live ← stored
  for (const StateItem& item : state) {
    const Manifest::Tensor* tensor = checkpoint.manifest.find(item.name);
    if (is_controller(item.name) || (tensor == nullptr && is_router_bias(item.name))) continue;
    const bool widened = tensor != nullptr && tensor->dtype == at::kFloat &&
                         item.tensor.scalar_type() == at::kDouble;
    stored.push_back(
        {item.name, widened ? at::empty(item.tensor.sizes(), at::kFloat) : item.tensor});
    if (widened) copies.emplace_back(item.tensor, stored.back().tensor);
  }
  load_checkpoint(comm, files, checkpoint, stored, ExtraTensors::kIgnore);
  at::NoGradGuard no_grad;
  for (auto& [live, read] : copies) live.copy_(read);
  std::vector<std::string> notices = checkpoint.notices;
  notices.push_back("weights from " + checkpoint.folder);
  return notices;
}

}  // namespace switchyard
