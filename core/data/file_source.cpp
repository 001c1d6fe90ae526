#include "core/data/file_source.h"

#include <ATen/ATen.h>

#include <glob.h>

#include <algorithm>
#include <filesystem>
#include <set>

#include "core/base/counter_rng.h"
#include "core/base/error.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kByteVocabulary = 256;
/// Orders the validation windows: the same for all runs.
constexpr uint64_t kValidationKey = 0x76616C6964617465ull;

std::vector<std::string> matches(const std::string& pattern) {
  std::vector<std::string> found;
  glob_t result{};
  if (::glob(pattern.c_str(), 0, nullptr, &result) == 0) {
    found.assign(result.gl_pathv, result.gl_pathv + result.gl_pathc);
  }
  ::globfree(&result);
  if (found.empty()) throw DataError(pattern + ": no file matches");
  return found;
}

std::vector<std::string> expand(const PathList& list, const std::string& root) {
  std::vector<std::string> all;
  std::set<std::string> seen;
  for (const auto& path : list.paths) {
    const std::string full = (fs::path(root.empty() ? list.base_dir : root) / path).string();
    const bool pattern = full.find_first_of("*?[") != std::string::npos && !fs::exists(full);
    for (const auto& file : pattern ? matches(full) : std::vector<std::string>{full}) {
      if (!seen.insert(file).second) throw DataError(file + ": listed twice in one domain");
      all.push_back(file);
    }
  }
  return all;
}

TokenFormat format_of(const std::string& path, const DataOptions& options) {
  if (options.type == "text") return TokenFormat::kBytes;
  if (options.format == "llmc" || (options.format == "auto" && TokenFile::has_llmc_header(path))) {
    return TokenFormat::kLlmc;
  }
  return options.dtype == "u16" ? TokenFormat::kRaw16 : TokenFormat::kRaw32;
}

std::vector<Segment> documents_of(const TokenFile& file, const DocumentOptions& options) {
  std::vector<Segment> documents;
  switch (options.kind) {
    case DocumentOptions::Kind::kNone:
      return {{&file, 0, file.size()}};
    case DocumentOptions::Kind::kLength:
      if (file.size() % options.length != 0) {
        throw DataError(fmt::format("{}: {} tokens are not a whole number of documents of {}",
                                    file.path(), file.size(), options.length));
      }
      for (int64_t first = 0; first < file.size(); first += options.length) {
        documents.push_back({&file, first, options.length});
      }
      return documents;
    case DocumentOptions::Kind::kSeparator: {
      int64_t first = 0;
      for (int64_t i = 0; i < file.size(); ++i) {
        if (file.at(i) != options.separator) continue;
        documents.push_back({&file, first, i + 1 - first});
        first = i + 1;
      }
      if (first < file.size()) documents.push_back({&file, first, file.size() - first});
      return documents;
    }
  }
  return documents;
}

/// Appends a file's documents to the part they belong to. A stream is cut at the share; of
/// documents, those that end beyond it are validation.
void split_file(const TokenFile& file, const DataOptions& options, std::vector<Segment>& training,
                std::vector<Segment>& validation) {
  const auto kept = static_cast<int64_t>(options.validation * static_cast<double>(file.size()));
  const int64_t cut = file.size() - kept;
  const auto documents = documents_of(file, options.documents);
  if (options.documents.kind == DocumentOptions::Kind::kNone) {
    training.push_back({&file, 0, cut});
    if (kept > 0) validation.push_back({&file, cut, kept});
    return;
  }
  for (const Segment& document : documents) {
    (document.first + document.count <= cut ? training : validation).push_back(document);
  }
}

int64_t tokens_in(const std::vector<Segment>& segments) {
  int64_t sum = 0;
  for (const Segment& segment : segments) sum += segment.count;
  return sum;
}

std::vector<std::pair<std::string, DomainOptions>> domains_of(const DataOptions& options) {
  if (!options.domains.empty()) return options.domains;
  return {{"all", DomainOptions{options.files, 1.0}}};
}

std::vector<double> shares_of(const DataOptions& options) {
  std::vector<double> shares;
  double total = 0;
  for (const auto& [name, domain] : domains_of(options)) total += domain.weight;
  for (const auto& [name, domain] : domains_of(options)) shares.push_back(domain.weight / total);
  return shares;
}

}  // namespace

FileSource::FileSource(const DataOptions& options, const SourceContext& context)
    : shares_(shares_of(options)),
      schedule_(shares_, options.sampler == "single_domain"
                             ? context.sequences_per_step / context.micro_sequences
                             : context.sequences_per_step),
      run_seed_(context.run_seed),
      group_sequences_(options.sampler == "single_domain" ? context.micro_sequences : 1),
      wants_training_(options.validation < 1),
      wants_validation_(options.validation > 0 || !options.validation_files.empty()) {
  fingerprint_ =
      fmt::format("{} sampler {} validation {} documents {} {} {}", options.type, options.sampler,
                  options.validation, static_cast<int>(options.documents.kind),
                  options.documents.separator, options.documents.length);
  for (const auto& [name, domain] : domains_of(options)) {
    fingerprint_ += fmt::format("; {} weight {}", name, domain.weight);
    open_domain(name, domain.files, options);
  }
  int64_t highest = 0;
  for (const auto& domain : domains_) {
    for (const TokenFile& file : domain->files) {
      if (context.vocab_size) file.check_vocabulary(*context.vocab_size);
      if (options.type == "tokens") highest = std::max(highest, file.max_token());
    }
  }
  vocab_size_ = context.vocab_size.value_or(options.type == "text" ? kByteVocabulary : highest + 1);
  check_lengths(context.sequence_length);
}

void FileSource::open_domain(const std::string& name, const PathList& paths,
                             const DataOptions& options) {
  names_.push_back(name);
  auto domain = std::make_unique<Domain>();
  const auto training = expand(paths, options.root);
  const auto validation = expand(options.validation_files, options.root);
  domain->files.reserve(training.size() + validation.size());  // segments point at the files
  for (const auto* list : {&training, &validation}) {
    for (const auto& path : *list) {
      const TokenFile& file = domain->files.emplace_back(path, format_of(path, options));
      fingerprint_ += fmt::format(" {}:{}x{}", file.content_hash(), file.size(), file.width());
      if (list == &validation) {
        for (const Segment& part : documents_of(file, options.documents)) {
          domain->validation.push_back(part);
        }
      } else if (!validation.empty()) {
        for (const Segment& part : documents_of(file, options.documents)) {
          domain->training.push_back(part);
        }
      } else {
        split_file(file, options, domain->training, domain->validation);
      }
    }
  }
  domains_.push_back(std::move(domain));
}

void FileSource::check_lengths(int64_t length) const {
  const Plan& plan = this->plan(length);
  for (size_t d = 0; d < domains_.size(); ++d) {
    if (wants_training_ && plan.training[d].windows_per_epoch() == 0) {
      throw DataError(
          fmt::format("domain {}: its training part of {} tokens holds no sequence of "
                      "{} tokens and a target",
                      names_[d], tokens_in(domains_[d]->training), length));
    }
    if (wants_validation_ && plan.validation[d].windows_per_epoch() == 0) {
      throw DataError(
          fmt::format("domain {}: its validation part of {} tokens holds no sequence of "
                      "{} tokens and a target; raise data.validation, or set it to 0",
                      names_[d], tokens_in(domains_[d]->validation), length));
    }
  }
}

const FileSource::Plan& FileSource::plan(int64_t length) const {
  const std::lock_guard lock(mutex_);
  auto& plan = plans_[length];
  if (plan == nullptr) {
    plan = std::make_unique<Plan>();
    for (size_t d = 0; d < domains_.size(); ++d) {
      const auto order = static_cast<uint64_t>(RandomStream::kDataOrder);
      plan->training.emplace_back(domains_[d]->training, length, hash({run_seed_, order, d}),
                                  WindowStream::Cut::kShifted);
      plan->validation.emplace_back(domains_[d]->validation, length,
                                    hash({kValidationKey, order, d}), WindowStream::Cut::kFixed);
    }
  }
  return *plan;
}

namespace {

void copy_window(const Window& window, int64_t length, int64_t domain, const SequenceOut& out) {
  window.file->copy(window.first, length, out.tokens);
  window.file->copy(window.first + 1, length, out.targets);
  std::fill_n(out.domains, length, domain);
}

}  // namespace

void FileSource::training_sequence(int64_t step, int64_t sequence, int64_t length,
                                   const SequenceOut& out) const {
  if (!wants_training_) throw DataError("all of these data are for evaluation, none for training");
  const Schedule::Slot slot = schedule_.at(step, sequence / group_sequences_);
  const int64_t index = slot.index * group_sequences_ + sequence % group_sequences_;
  copy_window(plan(length).training[slot.domain].at(index), length, slot.domain, out);
}

int64_t FileSource::num_validation_sequences(int64_t length) const {
  int64_t all = 0;
  for (const auto& stream : plan(length).validation) all += stream.windows_per_epoch();
  return all;
}

int64_t FileSource::num_balanced_validation_sequences(int64_t length) const {
  int64_t fewest = INT64_MAX;
  for (const auto& stream : plan(length).validation) {
    fewest = std::min(fewest, stream.windows_per_epoch());
  }
  return fewest * static_cast<int64_t>(names_.size());
}

void FileSource::validation_sequence(int64_t index, int64_t length, const SequenceOut& out) const {
  const auto domains = static_cast<int64_t>(names_.size());
  const int64_t balanced = num_balanced_validation_sequences(length);
  int64_t domain = index % domains, window = index / domains;
  if (index >= balanced) {
    const auto& streams = plan(length).validation;
    const int64_t used = balanced / domains;
    domain = 0, window = used + index - balanced;
    for (; window >= streams[domain].windows_per_epoch(); ++domain)
      window -= streams[domain].windows_per_epoch() - used;
  }
  copy_window(plan(length).validation[domain].at(window), length, domain, out);
}

at::Tensor FileSource::training_counts(int64_t vocab_size, int64_t) const {
  constexpr int64_t kChunk = 1 << 16;
  std::vector<int64_t> tokens(kChunk);
  at::Tensor all_V = at::zeros({vocab_size}, at::TensorOptions().dtype(at::kDouble));
  for (size_t d = 0; d < domains_.size(); ++d) {
    at::Tensor counts_V = at::zeros({vocab_size}, at::TensorOptions().dtype(at::kLong));
    int64_t* counts = counts_V.mutable_data_ptr<int64_t>();
    for (const Segment& segment : domains_[d]->training)
      for (int64_t done = 0; done < segment.count; done += kChunk) {
        const int64_t count = std::min(kChunk, segment.count - done);
        segment.file->copy(segment.first + done, count, tokens.data());
        for (int64_t i = 0; i < count; ++i) ++counts[tokens[i]];
      }
    const auto total = static_cast<double>(tokens_in(domains_[d]->training));
    all_V.add_(counts_V.to(at::kDouble), shares_[d] / std::max(total, 1.0));
  }
  return all_V;
}

FileSource::DomainSize FileSource::domain_size(int64_t domain, int64_t length) const {
  const Domain& found = *domains_.at(domain);
  const Plan& plan = this->plan(length);
  DomainSize size;
  size.files = static_cast<int64_t>(found.files.size());
  size.validation_tokens = tokens_in(found.validation);
  size.tokens = tokens_in(found.training) + size.validation_tokens;
  size.windows = plan.training[domain].windows_per_epoch();
  size.validation_windows = plan.validation[domain].windows_per_epoch();
  return size;
}

}  // namespace switchyard
