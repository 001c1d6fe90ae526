#include "core/nn/rope.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "core/base/error.h"
#include "core/base/limits.h"
#include "core/config/fields.h"
#include "core/kernels/rotary.h"

namespace switchyard {
namespace {

constexpr double kTurn = 2 * std::numbers::pi;

double original_length(const RopeOptions& options) {
  return static_cast<double>(options.scaling.original_max_seq_len.value_or(options.max_seq_len));
}

at::Tensor llama3_frequencies(const at::Tensor& plain_C, const RopeOptions& options) {
  const RopeScaling& s = options.scaling;
  const at::Tensor turns_C = plain_C * (original_length(options) / kTurn);  // over that length
  const at::Tensor kept_C =
      ((turns_C - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor)).clamp(0, 1);
  return plain_C * (kept_C + (1 - kept_C) / s.factor);
}

at::Tensor yarn_frequencies(const at::Tensor& plain_C, const RopeOptions& options) {
  const RopeScaling& s = options.scaling;
  const double width = 2.0 * static_cast<double>(plain_C.size(0));
  // The pair, as a real number, that turns so often over the original length.
  const auto pair_of = [&](double turns) {
    return width * std::log(original_length(options) / (turns * kTurn)) /
           (2 * std::log(options.theta));
  };
  double first = pair_of(s.beta_fast), last = pair_of(s.beta_slow);
  if (s.truncate) {
    first = std::floor(first);
    last = std::ceil(last);
  }
  first = std::max(first, 0.0);
  last = std::min(last, width - 1);
  if (first == last) last += 0.001;
  const at::Tensor pairs_C = at::arange(plain_C.size(0), plain_C.options());
  const at::Tensor slowed_C = ((pairs_C - first) / (last - first)).clamp(0, 1);
  return plain_C * (slowed_C / s.factor + (1 - slowed_C));
}

double yarn_m(const RopeScaling& scaling, double weight) {
  return scaling.factor <= 1 ? 1.0 : 1 + 0.1 * weight * std::log(scaling.factor);
}

}  // namespace

void describe(Fields& fields, RopeScaling& options) {
  const std::vector<std::string> scaled = {"linear", "llama3", "yarn"}, longer = {"llama3", "yarn"};
  fields
      .choice("type", options.type, {"none", "linear", "llama3", "yarn"},
              "How rotary positions stretch to longer sequences than a model was trained on.")
      .also_called({"rope_type"})
      .also_spelled({{"default", "none"}});
  fields.number("factor", options.factor, "How many times longer.")
      .at_least(1)
      .only_for(scaled)
      .also_called({"scaling_factor", "rope_factor"});
  fields
      .integer_or("original_max_seq_len", options.original_max_seq_len, "auto",
                  "Longest sequence before; auto = max_seq_len.")
      .at_least(1)
      .at_most(kMaxPositions)
      .only_for(longer)
      .also_called({"original_max_position_embeddings"});
  fields
      .number("low_freq_factor", options.low_freq_factor,
              "Pairs that turn less often than this over the original length are slowed by factor.")
      .more_than(0)
      .only_for({"llama3"});
  fields
      .number("high_freq_factor", options.high_freq_factor,
              "Pairs that turn more often than this over the original length stay as they are.")
      .more_than(0)
      .only_for({"llama3"});
  fields
      .number("beta_fast", options.beta_fast,
              "Pairs that turn more often than this over the original length stay as they are.")
      .more_than(0)
      .only_for({"yarn"});
  fields
      .number("beta_slow", options.beta_slow,
              "Pairs that turn less often than this over the original length are slowed by factor.")
      .more_than(0)
      .only_for({"yarn"});
  fields
      .flag("truncate", options.truncate,
            "Round the ends of the passage between the two outwards to whole pairs.")
      .only_for({"yarn"});
  fields
      .number_or(
          "attention_factor", options.attention_factor, "auto",
          "What cosine and sine are multiplied by; auto = of factor, mscale, mscale_all_dim.")
      .more_than(0)
      .only_for({"yarn"});
  fields
      .number_or("mscale", options.mscale, "none",
                 "Weight of ln(factor) in what cosine and sine are multiplied by.")
      .more_than(0)
      .only_for({"yarn"});
  fields
      .number_or("mscale_all_dim", options.mscale_all_dim, "none",
                 "Weight of ln(factor) in what is divided out of it, and in the scores of mla.")
      .more_than(0)
      .only_for({"yarn"});
}

void validate(const RopeOptions& options) {
  const RopeScaling& s = options.scaling;
  const auto check_order = [](const char* low, double lower, const char* high, double higher) {
    if (lower >= higher)
      throw ConfigError(
          fmt::format("model.rope_scaling.{}: {} is not above {}: {}", high, higher, low, lower));
  };
  if (s.type == "llama3")
    check_order("low_freq_factor", s.low_freq_factor, "high_freq_factor", s.high_freq_factor);
  if (s.type != "yarn") return;
  check_order("beta_slow", s.beta_slow, "beta_fast", s.beta_fast);
  if (options.theta <= 1)
    throw ConfigError(fmt::format(
        "model.rope_theta: {} does not go with model.rope_scaling.type: yarn; allowed: above 1",
        options.theta));
}

at::Tensor rope_frequencies(const RopeOptions& options, int64_t width) {
  const at::Tensor plain_C = rotary_frequencies(width, options.theta);
  const RopeScaling& scaling = options.scaling;
  if (scaling.type == "linear") return plain_C / scaling.factor;
  if (scaling.type == "llama3") return llama3_frequencies(plain_C, options);
  if (scaling.type == "yarn") return yarn_frequencies(plain_C, options);
  SWITCHYARD_CHECK(scaling.type == "none", "rope_scaling {}", scaling.type);
  return plain_C;
}

double rope_amplitude(const RopeScaling& scaling) {
  if (scaling.type != "yarn") return 1;
  if (scaling.attention_factor) return *scaling.attention_factor;
  if (scaling.mscale && scaling.mscale_all_dim)
    return yarn_m(scaling, *scaling.mscale) / yarn_m(scaling, *scaling.mscale_all_dim);
  return yarn_m(scaling, 1);
}

double latent_score_scale(const RopeScaling& scaling) {
  if (scaling.type != "yarn" || !scaling.mscale_all_dim) return 1;
  const double m = yarn_m(scaling, *scaling.mscale_all_dim);
  return m * m;
}

}  // namespace switchyard
