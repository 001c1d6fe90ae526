#include "trainers/import/hf_rope.h"

#include <fmt/format.h>

#include "core/base/limits.h"

namespace switchyard {
namespace {

constexpr const char* kOriginal = "original_max_position_embeddings";

int64_t original_length(const HfKeys& keys, const HfKeys& rope, int64_t otherwise) {
  rope.ignore({kOriginal});
  // Above the block it wins.
  for (const HfKeys* place : {&keys, &rope})
    if (place->has(kOriginal)) return place->integer(kOriginal, {1, kMaxPositions});
  return otherwise;
}

std::optional<double> number(const HfKeys& rope, const char* key) {
  return rope.has(key) ? std::optional(rope.positive(key)) : std::nullopt;
}

// 0 stands for none.
std::optional<double> weight(const HfKeys& rope, const char* key) {
  return rope.has(key) && rope.not_negative(key) > 0 ? number(rope, key) : std::nullopt;
}

void read_yarn(const HfKeys& rope, RopeScaling& scaling) {
  scaling.beta_fast = weight(rope, "beta_fast").value_or(32);
  scaling.beta_slow = weight(rope, "beta_slow").value_or(1);
  scaling.truncate = rope.flag_or("truncate", true);
  scaling.attention_factor = number(rope, "attention_factor");
  scaling.mscale = weight(rope, "mscale");
  scaling.mscale_all_dim = weight(rope, "mscale_all_dim");
}

}  // namespace

RopeScaling read_rope_scaling(const HfKeys& keys, const HfKeys& rope, int64_t max_seq_len) {
  for (const char* name : {"type", "rope_type"})
    rope.only(name, {"default", "linear", "llama3", "yarn"});
  const std::string name = rope.has("rope_type") ? "rope_type" : "type";
  RopeScaling scaling;
  if (!rope.has(name) || rope.text(name) == "default") return scaling;
  scaling.type = rope.text(name);
  if (scaling.type != "linear")
    scaling.original_max_seq_len = original_length(keys, rope, max_seq_len);
  if (scaling.type == "yarn" && rope.is_there("factor") && !rope.has("factor"))
    scaling.factor =
        static_cast<double>(max_seq_len) / static_cast<double>(*scaling.original_max_seq_len);
  else
    scaling.factor = rope.positive("factor");
  if (scaling.factor < 1)
    rope.fail("factor", fmt::format("{} is not supported; allowed: at least 1", scaling.factor));
  if (scaling.type == "llama3") {
    scaling.low_freq_factor = rope.positive("low_freq_factor");
    scaling.high_freq_factor = rope.positive("high_freq_factor");
  }
  if (scaling.type == "yarn") read_yarn(rope, scaling);
  return scaling;
}

}  // namespace switchyard
