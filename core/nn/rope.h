#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace at {
class Tensor;
}

namespace switchyard {

class Fields;

/// The `model.rope_scaling` block: rotary positions for longer sequences than those that a model
/// was first trained on. The types and their formulas are those of published checkpoints.
struct RopeScaling {
  std::string type = "none";                    ///< none | linear | llama3 | yarn
  double factor = 1;                            ///< how many times longer
  std::optional<int64_t> original_max_seq_len;  ///< llama3, yarn: before; auto = max_seq_len
  double low_freq_factor = 1;                   ///< llama3, as the next
  double high_freq_factor = 4;
  double beta_fast = 32;  ///< yarn, as all below
  double beta_slow = 1;
  bool truncate = true;
  std::optional<double> attention_factor;  ///< auto = of factor, mscale and mscale_all_dim
  std::optional<double> mscale, mscale_all_dim;

  bool operator==(const RopeScaling&) const = default;
};

void describe(Fields& fields, RopeScaling& options);

/// Rotary position embeddings (Su et al. 2021).
struct RopeOptions {
  double theta = 10000.0;
  bool interleaved = false;  ///< pairs (2i, 2i + 1) instead of (i, i + C/2)
  int64_t max_seq_len = 128;
  RopeScaling scaling;
};

/// Throws ConfigError for a combination that no single key can refuse.
void validate(const RopeOptions& options);

/// Angle per position of each pair of a head of `width`, fp64 [width/2]: θ^(−2i/width), of which
/// linear divides all by the factor (Chen et al. 2023), llama3 those whose wavelength is above
/// original/low_freq_factor, with a smooth passage from original/high_freq_factor on (Llama 3.1),
/// and yarn those that turn less than beta_slow times over the original length, with a ramp over
/// the pairs up to beta_fast turns, whose ends `truncate` rounds outwards (Peng et al. 2023, YaRN).
at::Tensor rope_frequencies(const RopeOptions& options, int64_t width);

/// What cosine and sine are multiplied by: 1, for yarn attention_factor, by default m(1), or
/// m(mscale)/m(mscale_all_dim) where both are given; m(a) = 1 + a ln(factor)/10.
double rope_amplitude(const RopeScaling& scaling);

/// What the scores of latent attention are multiplied by, in yarn with mscale_all_dim: its m²
/// (DeepSeek-V2).
double latent_score_scale(const RopeScaling& scaling);

}  // namespace switchyard
