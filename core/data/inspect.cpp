#include "core/data/inspect.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "core/data/file_source.h"
#include "core/data/synthetic.h"

namespace switchyard {
namespace {

constexpr int64_t kShownBytes = 72, kShownTokens = 16;
/// A rare domain may need many sequences before its first one comes.
constexpr int64_t kSearched = 4096;

/// 1234567 → 1,234,567.
std::string grouped(int64_t value) {
  std::string digits = std::to_string(value);
  for (auto i = static_cast<int64_t>(digits.size()) - 3; i > 0; i -= 3) digits.insert(i, 1, ',');
  return digits;
}

std::string shown_text(const std::vector<int64_t>& bytes) {
  std::string text;
  for (const int64_t byte : bytes) {
    if (byte == '\n') {
      text += "\\n";
    } else if (byte < 0x20 || byte == 0x7F) {
      text += fmt::format("\\x{:02x}", byte);
    } else {
      text += static_cast<char>(byte);
    }
  }
  return text;
}

std::string shown(std::vector<int64_t> tokens, bool as_text) {
  const int64_t wanted = as_text ? kShownBytes : kShownTokens;
  tokens.resize(std::min<size_t>(tokens.size(), wanted));
  return as_text ? shown_text(tokens) : fmt::format("{} ...", fmt::join(tokens, " "));
}

/// One line for each domain: the start of the first sequence of it that comes.
std::string samples(const TokenSource& source, int64_t length, bool as_text) {
  const bool from_validation = source.num_validation_sequences(length) > 0;
  std::vector<std::string> found(source.domains().size());
  size_t missing = found.size();
  Sequence sample(length);
  for (int64_t i = 0; missing > 0 && i < kSearched; ++i) {
    if (from_validation && i >= source.num_validation_sequences(length)) break;
    if (from_validation) {
      source.validation_sequence(i, length, sample.out());
    } else {
      source.training_sequence(i, 0, length, sample.out());
    }
    std::string& line = found[sample.domains.front()];
    if (!line.empty()) continue;
    line = shown(sample.tokens, as_text);
    --missing;
  }
  std::string text;
  for (size_t d = 0; d < found.size(); ++d) {
    text += fmt::format("  {:<20} {}\n", source.domains()[d], found[d]);
  }
  return text;
}

std::string file_table(const FileSource& source, int64_t length) {
  std::string text = fmt::format("  {:<20} {:>5} {:>14} {:>14} {:>12} {:>6}\n", "domain", "files",
                                 "tokens", "validation", "sequences", "share");
  const auto domains = static_cast<int64_t>(source.domains().size());
  for (int64_t d = 0; d < domains; ++d) {
    const FileSource::DomainSize size = source.domain_size(d, length);
    text += fmt::format("  {:<20} {:>5} {:>14} {:>14} {:>12} {:>5.1f}%\n", source.domains()[d],
                        size.files, grouped(size.tokens), grouped(size.validation_tokens),
                        grouped(size.windows), 100 * source.share(d));
  }
  return text + fmt::format("validation: {} sequences, the first {} alike from every domain\n",
                            grouped(source.num_validation_sequences(length)),
                            grouped(source.num_balanced_validation_sequences(length)));
}

std::string inspect_files(const DataOptions& options, const SourceContext& context) {
  const FileSource source(options, context);
  return fmt::format(
             "{}: vocabulary {}, sampler {}, sequences of {} tokens in an epoch of training\n",
             options.type, grouped(source.vocab_size()), options.sampler, context.sequence_length) +
         file_table(source, context.sequence_length) + "samples\n" +
         samples(source, context.sequence_length, options.type == "text");
}

}  // namespace

std::string inspect_data(const DataOptions& options, const SourceContext& context) {
  if (options.type != "synthetic") return inspect_files(options, context);
  const auto source = make_token_source(options, context);
  const int64_t length = context.sequence_length;
  return fmt::format(
             "synthetic ({}): vocabulary {}, {} domains, sampler {}, no end of documents of {} "
             "tokens\nvalidation: {} documents; {} of {} targets scored\n"
             "samples\n",
             options.variant, grouped(source->vocab_size()), source->domains().size(),
             options.sampler, length + 1, grouped(source->num_validation_sequences(length)),
             source->scored_tokens(length), length) +
         samples(*source, length, false);
}

}  // namespace switchyard
