#include "core/data/synthetic.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "core/base/counter_rng.h"
#include "core/base/error.h"

namespace switchyard {
namespace {

// Coordinates that separate the corpus' draws; part of its definition.
constexpr uint64_t kCommon = 7, kSuccessor = 11, kZipf = 17, kFirstTokens = 19, kNextToken = 23,
                   kSwitch = 29, kNewDomain = 31;
constexpr uint64_t kLatentStream = uint64_t{1} << 40;
constexpr int64_t kFirstTraining = int64_t{1} << 20;
constexpr int64_t kMaxKeptRows = int64_t{1} << 22;
constexpr std::array<double, 4> kProbability = {0.5, 0.25, 0.125, 0.125};
constexpr std::array<double, 4> kNll = {std::numbers::ln2, 2 * std::numbers::ln2,
                                        3 * std::numbers::ln2, 3 * std::numbers::ln2};

uint64_t pack(const SyntheticCorpus::Row& row) {
  uint64_t bits = 0;
  for (int i = 0; i < 4; ++i) bits |= static_cast<uint64_t>(row[i]) << (16 * i);
  return bits;
}

SyntheticCorpus::Row unpack(uint64_t bits) {
  SyntheticCorpus::Row row;
  for (int i = 0; i < 4; ++i) row[i] = static_cast<int64_t>((bits >> (16 * i)) & 0xFFFF);
  return row;
}

std::vector<double> zipf_cdf(int64_t domains, double exponent) {
  std::vector<double> cdf;
  if (exponent == 0) return cdf;
  double sum = 0;
  for (int64_t r = 0; r < domains; ++r) cdf.push_back(sum += std::pow(r + 1.0, -exponent));
  for (double& value : cdf) value /= sum;
  return cdf;
}

}  // namespace

SyntheticCorpus::SyntheticCorpus(const DataOptions& options)
    : seed_(static_cast<uint64_t>(options.seed)),
      num_domains_(options.num_domains),
      content_tokens_(options.content_tokens),
      order_(options.order),
      sigma_(options.sigma),
      rho_(options.rho.value_or(1.0 / 128)),
      latent_(options.variant == "latent"),
      num_contexts_(order_ == 1 ? content_tokens_ : content_tokens_ * content_tokens_),
      domain_cdf_(zipf_cdf(num_domains_, options.zipf)) {
  SWITCHYARD_CHECK(content_tokens_ >= 4 && content_tokens_ <= 65536 &&
                   (order_ == 1 || order_ == 2));
  const int64_t rows = (num_domains_ + 1) * num_contexts_;
  if (rows <= kMaxKeptRows) rows_ = std::vector<std::atomic<uint64_t>>(rows);
}

SyntheticCorpus::Row SyntheticCorpus::compute_row(int64_t domain, int64_t context) const {
  const uint64_t chain =
      hash({seed_, kSuccessor, static_cast<uint64_t>(domain), static_cast<uint64_t>(context)});
  Row row{};
  int found = 0;
  for (uint64_t i = 0; found < 4; ++i) {
    const auto token = static_cast<int64_t>(hash_more(chain, i) % content_tokens_);
    const auto end = row.begin() + found;
    if (std::find(row.begin(), end, token) == end) row[found++] = token;
  }
  return row;
}

SyntheticCorpus::Row SyntheticCorpus::row(int64_t domain, int64_t context) const {
  if (sigma_ > 0 && uniform({seed_, kCommon, static_cast<uint64_t>(context)}) < sigma_) {
    domain = num_domains_;
  }
  if (rows_.empty()) return compute_row(domain, context);
  auto& kept = rows_[domain * num_contexts_ + context];
  // Threads that meet here compute the same bits, so the order of their stores does not matter.
  uint64_t bits = kept.load(std::memory_order_relaxed);
  if (bits == 0) {
    bits = pack(compute_row(domain, context));
    kept.store(bits, std::memory_order_relaxed);
  }
  return unpack(bits);
}

int64_t SyntheticCorpus::domain_of(int64_t document) const {
  if (domain_cdf_.empty()) return document % num_domains_;
  const double u = uniform({seed_, kZipf, static_cast<uint64_t>(document)});
  const auto above = std::upper_bound(domain_cdf_.begin(), domain_cdf_.end(), u);
  return std::min<int64_t>(above - domain_cdf_.begin(), num_domains_ - 1);
}

int64_t SyntheticCorpus::draw(uint64_t chain, int64_t position, int64_t domain,
                              int64_t context) const {
  const double u = to_uniform(hash_more(chain, static_cast<uint64_t>(position)));
  const int j = u < 0.5 ? 0 : u < 0.75 ? 1 : u < 0.875 ? 2 : 3;
  return row(domain, context)[j];
}

void SyntheticCorpus::document(int64_t document, int64_t length, int64_t* tokens,
                               int64_t* domains) const {
  if (latent_) return latent_document(document, length, tokens, domains);
  tagged_document(document, length, tokens);
  if (domains) std::fill_n(domains, length, domain_of(document));
}

void SyntheticCorpus::tagged_document(int64_t document, int64_t length, int64_t* tokens) const {
  const int64_t domain = domain_of(document);
  const auto i = static_cast<uint64_t>(document);
  const uint64_t next = hash({seed_, kNextToken, i});
  for (int64_t t = 0; t < length; ++t) {
    if (t == 0) {
      tokens[t] = content_tokens_ + domain;
    } else if (t <= order_) {
      tokens[t] = static_cast<int64_t>(hash({seed_, kFirstTokens, i, static_cast<uint64_t>(t)}) %
                                       content_tokens_);
    } else {
      const int64_t context = tokens[t - 1] + (order_ == 2 ? tokens[t - 2] * content_tokens_ : 0);
      tokens[t] = draw(next, t, domain, context);
    }
  }
}

void SyntheticCorpus::latent_document(int64_t document, int64_t length, int64_t* tokens,
                                      int64_t* domains) const {
  int64_t domain = domain_of(document);
  const auto s = static_cast<uint64_t>(document);
  const uint64_t next = hash({seed_, kNextToken, kLatentStream + s});
  const uint64_t change = hash({seed_, kSwitch, s});
  const uint64_t target = hash({seed_, kNewDomain, s});
  int64_t context = 0;
  for (int64_t t = 0; t < length; ++t) {
    const auto position = static_cast<uint64_t>(t);
    if (to_uniform(hash_more(change, position)) < rho_) {
      const auto jump = static_cast<int64_t>(hash_more(target, position) % (num_domains_ - 1));
      domain = (domain + 1 + jump) % num_domains_;
    }
    tokens[t] = draw(next, t, domain, context);
    if (domains) domains[t] = domain;
    context = order_ == 1 ? tokens[t] : (context * content_tokens_ + tokens[t]) % num_contexts_;
  }
}

std::vector<double> SyntheticCorpus::filter_nll(const int64_t* tokens, int64_t length) const {
  std::vector<double> weights(num_domains_, 1.0 / num_domains_);
  std::vector<double> nll;
  int64_t context = 0;
  for (int64_t t = 0; t < length; ++t) {
    double sum = 0;
    for (int64_t d = 0; d < num_domains_; ++d) {
      const double prior =
          (1 - rho_) * weights[d] + rho_ * (1 - weights[d]) / static_cast<double>(num_domains_ - 1);
      const Row successors = row(d, context);
      const auto found = std::find(successors.begin(), successors.end(), tokens[t]);
      weights[d] = found == successors.end() ? 0 : prior * kProbability[found - successors.begin()];
      sum += weights[d];
    }
    for (double& weight : weights) weight /= sum;
    nll.push_back(-std::log(sum));
    context = order_ == 1 ? tokens[t] : (context * content_tokens_ + tokens[t]) % num_contexts_;
  }
  return nll;
}

std::vector<double> SyntheticCorpus::true_nll(int64_t document, int64_t length) const {
  std::vector<int64_t> tokens(length);
  this->document(document, length, tokens.data());
  if (latent_) return filter_nll(tokens.data(), length);
  std::vector<double> nll(length, 0.0);
  const int64_t domain = domain_of(document);
  for (int64_t t = order_ + 1; t < length; ++t) {
    const int64_t context = tokens[t - 1] + (order_ == 2 ? tokens[t - 2] * content_tokens_ : 0);
    const Row successors = row(domain, context);
    nll[t] = kNll[std::find(successors.begin(), successors.end(), tokens[t]) - successors.begin()];
  }
  return nll;
}

SyntheticSource::SyntheticSource(const DataOptions& options, uint64_t run_seed,
                                 int64_t sequences_per_step, int64_t group_sequences)
    : corpus_(options),
      run_seed_(run_seed),
      sequences_per_step_(sequences_per_step),
      group_sequences_(group_sequences),
      single_domain_(options.sampler == "single_domain"),
      fingerprint_(fmt::format(
          "synthetic {} seed {} domains {} tokens {} order {} sigma {} zipf {} "
          "rho {} sampler {}",
          options.variant, options.seed, options.num_domains, options.content_tokens, options.order,
          options.sigma, options.zipf, options.rho.value_or(1.0 / 128), options.sampler)) {
  if (run_seed >= (uint64_t{1} << 31)) {
    throw ConfigError(fmt::format(
        "run.seed {} is too large: synthetic data numbers its documents by seeds below 2^31",
        run_seed));
  }
  for (int64_t d = 0; d < corpus_.num_domains(); ++d) names_.push_back(fmt::format("domain_{}", d));
}

int64_t SyntheticSource::training_document(int64_t step, int64_t sequence) const {
  const int64_t first = kFirstTraining + static_cast<int64_t>(run_seed_ << 32);
  const int64_t n = step * sequences_per_step_ + sequence;
  if (!single_domain_) return first + n;
  const int64_t domains = corpus_.num_domains();
  const int64_t group = n / group_sequences_;
  const int64_t place = n % group_sequences_;
  return first + (group / domains) * domains * group_sequences_ + place * domains + group % domains;
}

int64_t SyntheticSource::scored_tokens(int64_t length) const {
  return corpus_.latent() ? length : std::max<int64_t>(0, length - corpus_.order());
}

void SyntheticSource::fill(int64_t document, int64_t length, const SequenceOut& out) const {
  std::vector<int64_t> text(length + 1), domains(length + 1);
  corpus_.document(document, length + 1, text.data(), domains.data());
  std::copy(text.begin(), text.end() - 1, out.tokens);
  std::copy(text.begin() + 1, text.end(), out.targets);
  std::fill_n(out.targets, length - scored_tokens(length), -1);
  std::copy(domains.begin(), domains.end() - 1, out.domains);
}

void SyntheticSource::training_sequence(int64_t step, int64_t sequence, int64_t length,
                                        const SequenceOut& out) const {
  fill(training_document(step, sequence), length, out);
}

int64_t SyntheticSource::num_validation_sequences(int64_t) const {
  return kFirstTraining;
}

void SyntheticSource::validation_sequence(int64_t index, int64_t length,
                                          const SequenceOut& out) const {
  fill(index, length, out);
}

std::optional<double> SyntheticSource::entropy_rate() const {
  if (corpus_.latent()) return std::nullopt;
  return std::inner_product(kProbability.begin(), kProbability.end(), kNll.begin(), 0.0);
}

double SyntheticSource::true_model_nll_sum(int64_t index, int64_t length) const {
  const auto nll = corpus_.true_nll(index, length + 1);
  double sum = 0;
  for (int64_t t = 1; t <= length; ++t) sum += nll[t];
  return sum;
}

}  // namespace switchyard
