#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "core/data/batch.h"
#include "core/data/options.h"

namespace switchyard {

/// What of a run decides, beside the `data` block, which tokens it sees.
struct SourceContext {
  uint64_t run_seed = 1;
  int64_t sequences_per_step = 1;
  int64_t micro_sequences = 1;        ///< the group that single_domain gives one domain
  int64_t sequence_length = 128;      ///< checked at once: every domain must yield a window
  std::optional<int64_t> vocab_size;  ///< model.vocab_size; unset = the data's own
};

/// Opens the data of validated options. Reads every file once: missing, empty or truncated files,
/// tokens outside the vocabulary and domains shorter than a sequence throw DataError.
std::unique_ptr<TokenSource> make_token_source(const DataOptions& options,
                                               const SourceContext& context);

}  // namespace switchyard
