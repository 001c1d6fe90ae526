#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/data/batch.h"
#include "core/data/options.h"

namespace switchyard {

/// A corpus of documents whose entropy is known exactly: in each domain, every context of `order`
/// tokens is followed by one of four tokens with probabilities 1/2, 1/4, 1/8, 1/8. Every number is
/// a pure function of (seed, document, position). Thread-safe.
///
/// tagged: token 0 of a document names its domain (content_tokens + domain), the next `order`
/// tokens are uniform, and the rest follow the domain's rows. The vocabulary is content_tokens +
/// domains. latent: no tags; the domain changes with probability rho before each token, and what
/// stands before the document counts as zeros. The vocabulary is content_tokens.
class SyntheticCorpus {
 public:
  using Row = std::array<int64_t, 4>;

  explicit SyntheticCorpus(const DataOptions& options);

  int64_t num_domains() const { return num_domains_; }
  int64_t vocab_size() const { return latent_ ? content_tokens_ : content_tokens_ + num_domains_; }
  bool latent() const { return latent_; }
  int64_t order() const { return order_; }

  /// The four successors of `context` (x_{t−1}, or x_{t−2}·content_tokens + x_{t−1}) in a domain.
  Row row(int64_t domain, int64_t context) const;
  /// Domain of document `i`; for the latent variant the one that it starts from.
  int64_t domain_of(int64_t document) const;
  /// Writes the first `length` tokens of a document, and the domain of each unless null.
  void document(int64_t document, int64_t length, int64_t* tokens,
                int64_t* domains = nullptr) const;
  /// −ln of the true model's probability of each of `length` tokens of a document, given those
  /// before. Tagged: 0 where position ≤ order, which is not scored. Latent: the exact forward
  /// filter over the hidden domain, from a uniform prior.
  std::vector<double> true_nll(int64_t document, int64_t length) const;

 private:
  Row compute_row(int64_t domain, int64_t context) const;
  void tagged_document(int64_t document, int64_t length, int64_t* tokens) const;
  void latent_document(int64_t document, int64_t length, int64_t* tokens, int64_t* domains) const;
  std::vector<double> filter_nll(const int64_t* tokens, int64_t length) const;
  int64_t draw(uint64_t chain, int64_t position, int64_t domain, int64_t context) const;

  uint64_t seed_;
  int64_t num_domains_, content_tokens_, order_;
  double sigma_, rho_;
  bool latent_;
  int64_t num_contexts_;
  std::vector<double> domain_cdf_;  ///< Zipf shares, summed; empty for equal domains
  /// Rows found so far, four 16-bit tokens each; 0 = not yet (four distinct tokens are never 0).
  /// Empty where the corpus has too many contexts to keep.
  mutable std::vector<std::atomic<uint64_t>> rows_;
};

/// The corpus as a TokenSource. Validation sequence i is document i (at most 2^20); training
/// sequence s of step t is document 2^20 + run_seed·2^32 + t·sequences_per_step + s. Under
/// single_domain the documents of num_domains consecutive groups of `group_sequences` are dealt out
/// by domain: each is used once, and a group has one domain.
class SyntheticSource : public TokenSource {
 public:
  SyntheticSource(const DataOptions& options, uint64_t run_seed, int64_t sequences_per_step,
                  int64_t group_sequences);

  int64_t vocab_size() const override { return corpus_.vocab_size(); }
  const std::vector<std::string>& domains() const override { return names_; }
  void training_sequence(int64_t step, int64_t sequence, int64_t length,
                         const SequenceOut& out) const override;
  int64_t num_validation_sequences(int64_t length) const override;
  void validation_sequence(int64_t index, int64_t length, const SequenceOut& out) const override;
  int64_t scored_tokens(int64_t length) const override;
  bool has_true_model() const override { return true; }
  double true_model_nll_sum(int64_t index, int64_t length) const override;
  /// 1.75 bits in every row of every domain; latent: not known in closed form.
  std::optional<double> entropy_rate() const override;
  std::string fingerprint() const override { return fingerprint_; }

  const SyntheticCorpus& corpus() const { return corpus_; }

 private:
  void fill(int64_t document, int64_t length, const SequenceOut& out) const;
  int64_t training_document(int64_t step, int64_t sequence) const;

  SyntheticCorpus corpus_;
  uint64_t run_seed_;
  int64_t sequences_per_step_, group_sequences_;
  bool single_domain_;
  std::vector<std::string> names_;
  std::string fingerprint_;
};

}  // namespace switchyard
