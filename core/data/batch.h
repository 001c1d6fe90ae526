#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

// Shape suffixes: B sequences of this rank, L sequence length.

/// One rank's share of a micro-batch.
struct Batch {
  at::Tensor tokens_BL;        ///< int64
  at::Tensor targets_BL;       ///< int64, the next token; −1 = not scored
  at::Tensor domain_BL;        ///< int64, domain that each token was drawn from
  int64_t step = 0;            ///< optimizer steps done before this one
  int64_t first_sequence = 0;  ///< number, within the step, of row 0
};

/// Where one sequence is written: `length` values each.
struct SequenceOut {
  int64_t* tokens;
  int64_t* targets;  ///< the next tokens; −1 = not scored
  int64_t* domains;  ///< of each token; the same all along but for synthetic data of variant latent
};

/// One sequence of its own.
struct Sequence {
  std::vector<int64_t> tokens, targets, domains;

  explicit Sequence(int64_t length) : tokens(length), targets(length), domains(length) {}
  SequenceOut out() { return {tokens.data(), targets.data(), domains.data()}; }
  bool operator==(const Sequence&) const = default;
};

/// Where sequences come from. Every sequence is a pure function of its coordinates: the same on
/// every rank, in any order, after any resume. Thread-safe.
class TokenSource {
 public:
  virtual ~TokenSource() = default;
  virtual int64_t vocab_size() const = 0;
  virtual const std::vector<std::string>& domains() const = 0;
  /// Training sequence `sequence` (from 0) of step `step`.
  virtual void training_sequence(int64_t step, int64_t sequence, int64_t length,
                                 const SequenceOut& out) const = 0;
  /// How many validation sequences exist; synthetic data has as many as wanted.
  virtual int64_t num_validation_sequences(int64_t length) const = 0;
  /// The first so many of them are alike from every domain: what evaluations in training draw from.
  virtual int64_t num_balanced_validation_sequences(int64_t length) const {
    return num_validation_sequences(length);
  }
  virtual void validation_sequence(int64_t index, int64_t length, const SequenceOut& out) const = 0;
  /// Targets that are scored in every sequence of `length` tokens (the others are −1): a step's
  /// count is known before its first micro-batch.
  virtual int64_t scored_tokens(int64_t length) const { return length; }
  /// Whether the loss of the true model is known (synthetic data).
  virtual bool has_true_model() const { return false; }
  /// Sum over the scored positions of −ln of the true model's probability, for a validation
  /// sequence.
  virtual double true_model_nll_sum(int64_t index, int64_t length) const;
  /// Mean of that over infinitely many tokens, in nats, where it is known exactly.
  virtual std::optional<double> entropy_rate() const { return std::nullopt; }
  /// Frequency of each token id as an input of training, fp64 [vocab_size], on any scale: the same
  /// on every rank. Counted over the training part of files, each domain by its share of the
  /// samples; for synthetic data over its first 4,096 training sequences of `length` tokens.
  virtual at::Tensor training_counts(int64_t vocab_size, int64_t length) const;
  /// Text that names the data exactly (options, file sizes and hashes): resume compares it.
  virtual std::string fingerprint() const = 0;
};

}  // namespace switchyard
