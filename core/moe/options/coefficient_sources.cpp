#include "core/moe/options/coefficient_sources.h"

#include <fmt/format.h>

#include <cmath>

#include "core/base/error.h"

namespace switchyard {
namespace {

/// Powers of the model's numbers; `known` false: none of them says it.
struct Row {
  const char* source;
  const char* type;
  const char* formula;
  int layers, experts, top_k;
  bool known;
  const char* why;
};

// Ours is a mean over layers that is 1 at perfect balance: a sum over layers gives L, an f that
// sums to K gives K, means over experts give powers of E.
constexpr Row kRows[] = {
    {"megatron", "load_balance", "L", 1, 0, 0, true,
     "1 per layer, summed over layers (its global_aux_loss: nominally)"},
    {"megatron", "z", "L", 1, 0, 0, true, "summed over layers"},
    {"deepspeed", "load_balance", "L", 1, 0, 0, true,
     "1 per layer for every K; the caller sums the layers' l_aux"},
    {"tutel", "load_balance", "L", 1, 0, 0, true, "1 per layer; the caller sums the layers' l_aux"},
    {"megablocks", "load_balance", "1", 0, 0, 0, true, "divided by L and K"},
    {"megablocks", "z", "L", 1, 0, 0, true, "one value per layer, summed"},
    {"olmo", "load_balance", "1", 0, 0, 0, true, "divided by L (scale_loss_by_num_layers)"},
    {"olmo", "z", "1", 0, 0, 0, true, "divided by L"},
    {"hf", "load_balance", "K", 0, 0, 1, true,
     "f sums to K; all layers' tokens in one mean (Mixtral, OLMoE, Qwen)"},
    {"hf", "z", "1", 0, 0, 0, true, "mean over tokens of all layers (Switch Transformers)"},
    {"automodel", "load_balance", "L", 1, 0, 0, true, "1 per layer, summed over layers"},
    {"maxtext", "load_balance", "K", 0, 0, 1, true, "f sums to K; mean over layers"},
    {"switch", "load_balance", "L", 1, 0, 0, true, "1 per layer, summed over layers"},
    {"st_moe", "load_balance", "L", 1, 0, 0, true, "1 per layer, summed over layers"},
    {"st_moe", "z", "L", 1, 0, 0, true, "summed over layers"},
    {"mesh", "load_balance", "L", 1, 0, 0, true, "1 per layer, summed over layers"},
    {"mesh", "z", "L", 1, 0, 0, true, "summed over layers"},
    {"gshard", "load_balance", "L / E^2", 1, -2, 0, true,
     "a mean over experts of (c/S) m: 1/E^2 per layer"},
    {"fairscale", "load_balance", "L / E^2", 1, -2, 0, true,
     "a mean over experts without E^2; the caller sums the layers' l_aux"},
    {"deepseek", "load_balance", "L", 1, 0, 0, true,
     "f = E/(K T) counts: 1 per layer, summed over layers"},
    {"deepseek", "device", "L", 1, 0, 0, true, "1 per layer, summed over layers"},
    {"deepseek", "communication", "L", 1, 0, 0, true, "1 per layer, summed over layers"},
    {"fastmoe", "load_balance", "?", 0, 0, 0, false,
     "its scale is the square of the experts on one worker, which no config of ours knows"},
};

}  // namespace

std::vector<std::string> coefficient_sources() {
  std::vector<std::string> sources = {"switchyard"};
  for (const Row& row : kRows)
    if (sources.back() != row.source) sources.emplace_back(row.source);
  return sources;
}

CoefficientFactor coefficient_factor(const std::string& source, const std::string& type,
                                     const CoefficientShape& shape, const std::string& path) {
  std::string with;
  for (const Row& row : kRows) {
    if (row.type != type) continue;
    with += fmt::format("{}{}", with.empty() ? "" : ", ", row.source);
    if (row.source != source) continue;
    if (!row.known)
      throw ConfigError(
          fmt::format("{}.from: {} cannot be converted: {}; write coef in our convention, where "
                      "the term is 1 at perfect balance, without from",
                      path, source, row.why));
    return {std::pow(static_cast<double>(shape.num_layers), row.layers) *
                std::pow(static_cast<double>(shape.num_experts), row.experts) *
                std::pow(static_cast<double>(shape.top_k), row.top_k),
            row.formula, row.experts != 0};
  }
  throw ConfigError(fmt::format("{}.from: {} has no term {}; systems that have one: {}", path,
                                source, type, with.empty() ? "none" : with));
}

std::string coefficient_table() {
  std::string text = "| `from` | type | × | because |\n|---|---|---|---|\n";
  for (const Row& row : kRows)
    text += fmt::format("| `{}` | `{}` | {} | {} |\n", row.source, row.type, row.formula, row.why);
  return text;
}

}  // namespace switchyard
