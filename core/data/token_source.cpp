#include "core/data/token_source.h"

#include <ATen/ATen.h>

#include <vector>

#include "core/base/error.h"
#include "core/data/file_source.h"
#include "core/data/synthetic.h"

namespace switchyard {

double TokenSource::true_model_nll_sum(int64_t, int64_t) const {
  throw InternalError("the true model of this data is not known; ask has_true_model() first");
}

at::Tensor TokenSource::training_counts(int64_t vocab_size, int64_t length) const {
  constexpr int64_t kSample = 4096;
  at::Tensor counts_V = at::zeros({vocab_size}, at::TensorOptions().dtype(at::kDouble));
  double* counts = counts_V.mutable_data_ptr<double>();
  Sequence sample(length);
  for (int64_t sequence = 0; sequence < kSample; ++sequence) {
    training_sequence(0, sequence, length, sample.out());
    for (const int64_t token : sample.tokens) ++counts[token];
  }
  return counts_V;
}

std::unique_ptr<TokenSource> make_token_source(const DataOptions& options,
                                               const SourceContext& context) {
  if (options.type != "synthetic") return std::make_unique<FileSource>(options, context);
  auto source = std::make_unique<SyntheticSource>(
      options, context.run_seed, context.sequences_per_step, context.micro_sequences);
  if (context.vocab_size && *context.vocab_size < source->vocab_size()) {
    throw DataError(fmt::format("model.vocab_size {} is less than the corpus' {} tokens",
                                *context.vocab_size, source->vocab_size()));
  }
  return source;
}

}  // namespace switchyard
