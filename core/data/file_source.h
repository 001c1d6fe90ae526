#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/data/batch.h"
#include "core/data/options.h"
#include "core/data/schedule.h"
#include "core/data/token_file.h"
#include "core/data/token_source.h"
#include "core/data/window_stream.h"

namespace switchyard {

/// Text and token files: several domains of several files each. The validation part is the last
/// share of every file (or files of its own). Training sequences follow the Schedule of the
/// domains; each domain's own sequence is a WindowStream. Thread-safe.
class FileSource : public TokenSource {
 public:
  /// Throws DataError as make_token_source() says.
  FileSource(const DataOptions& options, const SourceContext& context);

  int64_t vocab_size() const override { return vocab_size_; }
  const std::vector<std::string>& domains() const override { return names_; }
  void training_sequence(int64_t step, int64_t sequence, int64_t length,
                         const SequenceOut& out) const override;
  /// Every window of every domain.
  int64_t num_validation_sequences(int64_t length) const override;
  /// Domains × the windows of the domain that has fewest.
  int64_t num_balanced_validation_sequences(int64_t length) const override;
  /// Balanced sequence i is of domain i mod D; then come the windows that larger domains have left,
  /// domain by domain. The windows of a domain come in a pseudo-random order that is the same for
  /// all runs, so that a prefix samples all its files.
  void validation_sequence(int64_t index, int64_t length, const SequenceOut& out) const override;
  at::Tensor training_counts(int64_t vocab_size, int64_t length) const override;
  std::string fingerprint() const override { return fingerprint_; }

  /// Figures of one domain, for `data inspect`.
  struct DomainSize {
    int64_t files = 0, tokens = 0, validation_tokens = 0;
    int64_t windows = 0, validation_windows = 0;
  };
  DomainSize domain_size(int64_t domain, int64_t length) const;
  /// The domain's share of the training sequences.
  double share(int64_t domain) const { return shares_.at(domain); }

 private:
  struct Domain {
    std::vector<TokenFile> files;
    std::vector<Segment> training, validation;
  };
  struct Plan {
    std::vector<WindowStream> training, validation;
  };

  void open_domain(const std::string& name, const PathList& paths, const DataOptions& options);
  void check_lengths(int64_t length) const;
  const Plan& plan(int64_t length) const;

  std::vector<std::string> names_;
  std::vector<std::unique_ptr<Domain>> domains_;
  std::vector<double> shares_;
  Schedule schedule_;
  uint64_t run_seed_;
  int64_t group_sequences_;  ///< sequences that share a slot of the schedule
  bool wants_training_;      ///< false where `data.validation` takes everything
  bool wants_validation_;
  int64_t vocab_size_ = 0;
  std::string fingerprint_;
  mutable std::mutex mutex_;
  mutable std::map<int64_t, std::unique_ptr<Plan>> plans_;  ///< by sequence length
};

}  // namespace switchyard
