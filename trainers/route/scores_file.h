#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>

#include "core/checkpoint/file_ops.h"
#include "core/moe/options.h"

namespace switchyard {

/// The tensors of a scores file: what a router would have been given. T tokens; all floats have the
/// type of the logits; undefined where the file has none.
struct Scores {
  std::string path;
  at::Tensor logits_TE;  ///< [T, logit columns], fp32 or fp64
  at::Tensor tokens_T;   ///< int64
  at::Tensor bias_E;
  at::Tensor noise_TE;  ///< noisy_top_k: what is added to the logits

  int64_t num_tokens() const { return logits_TE.size(0); }
};

/// Reads a safetensors file with `logits` and perhaps `tokens`, `bias`, `noise`. Throws DataError
/// with file and tensor: a file that is missing or damaged, an unknown name, a wrong type or number
/// of dimensions, no tokens, a value that is not finite in the type of the logits, a negative
/// token.
Scores read_scores(FileOps& files, const std::string& path);

/// What a scores file has to fit beside the config.
struct ScoresUse {
  bool training = false;
  int64_t logit_columns = 0;    ///< what the router reads of each token; 0 = nothing
  int64_t sequence_length = 0;  ///< L
  int64_t vocab_size = 0;       ///< of a hash router
};

/// Throws DataError where the file contradicts the config or the command line: another number of
/// columns (a router that reads no logits is given [T, E] too), a bias that the router does not
/// take, noise outside training or for another router, T no multiple of L, a hash router without
/// tokens or with one outside the vocabulary.
void check_scores(const Scores& scores, const MoEOptions& moe, const ScoresUse& use);

}  // namespace switchyard
