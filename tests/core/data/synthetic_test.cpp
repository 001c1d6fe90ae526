#include "core/data/synthetic.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <numeric>
#include <set>
#include <thread>

#include "core/base/counter_rng.h"
#include "core/base/error.h"
#include "tests/support/sha256.h"

namespace switchyard {
namespace {

// Entropy of the probabilities 1/2, 1/4, 1/8, 1/8 in nats: 1.75 bits.
constexpr double kEntropy = 1.2130075659799042;

DataOptions tagged(int64_t domains = 16, int64_t tokens = 64) {
  DataOptions options;
  options.num_domains = domains;
  options.content_tokens = tokens;
  return options;
}

DataOptions latent(int64_t domains, int64_t tokens = 64) {
  DataOptions options = tagged(domains, tokens);
  options.variant = "latent";
  return options;
}

DataOptions order_two() {
  DataOptions options = tagged(8, 32);
  options.order = 2;
  options.sigma = 0.25;
  return options;
}

std::vector<int64_t> document(const SyntheticCorpus& corpus, int64_t i, int64_t length) {
  std::vector<int64_t> tokens(length);
  corpus.document(i, length, tokens.data());
  return tokens;
}

/// Two bytes a token, low byte first.
std::string as_uint16(const std::vector<int64_t>& tokens) {
  std::string bytes;
  for (const int64_t token : tokens) {
    bytes += static_cast<char>(token & 0xFF);
    bytes += static_cast<char>(token >> 8);
  }
  return bytes;
}

using Tokens = std::vector<int64_t>;

}  // namespace

TEST_CASE("the hash of the corpus has the published values", "[synthetic]") {
  CHECK(splitmix64(0) == 0xe220a8397b1dcdafull);
  CHECK(hash({1, 2, 3}) == 0xd0734750fde362b3ull);
}

TEST_CASE("documents of the tagged corpus equal the published ones", "[synthetic]") {
  const SyntheticCorpus corpus(tagged());

  SECTION("rows") {
    CHECK(corpus.row(0, 0) == SyntheticCorpus::Row{35, 17, 24, 34});
    CHECK(corpus.row(5, 63) == SyntheticCorpus::Row{7, 23, 19, 36});
  }
  SECTION("the first tokens of documents 0 and 17") {
    CHECK(document(corpus, 0, 12) == Tokens{64, 9, 62, 26, 51, 10, 16, 60, 44, 44, 17, 22});
    CHECK(document(corpus, 17, 12) == Tokens{65, 28, 45, 41, 13, 12, 31, 23, 30, 54, 15, 63});
  }
  SECTION("the SHA-256 of a thousand documents") {
    std::string bytes;
    for (int64_t i = 0; i < 1000; ++i) bytes += as_uint16(document(corpus, i, 129));
    CHECK(test::sha256(bytes) ==
          "d4d572766c38b0d12191aee9bd12565e992f2e41617a46bd8d4cd910be9b9b90");
  }
  SECTION("a context of two tokens, with shared contexts") {
    CHECK(document(SyntheticCorpus(order_two()), 3, 12) ==
          Tokens{35, 4, 9, 14, 21, 9, 25, 25, 19, 9, 11, 17});
  }
}

TEST_CASE("a corpus too large to keep its rows is the same function", "[synthetic]") {
  DataOptions options = tagged(2, 2048);
  options.order = 2;  // 3 · 2048² rows
  const SyntheticCorpus corpus(options);
  const auto tokens = document(corpus, 4, 8);
  CHECK(tokens[0] == 2048);
  for (int t = 3; t < 8; ++t) {
    const auto row = corpus.row(0, tokens[t - 2] * 2048 + tokens[t - 1]);
    CHECK(std::set<int64_t>(row.begin(), row.end()).size() == 4);
    CHECK(std::count(row.begin(), row.end(), tokens[t]) == 1);
  }
}

TEST_CASE("the true model's loss on the tagged corpus is its entropy", "[synthetic]") {
  const SyntheticCorpus corpus(tagged());
  double sum = 0;
  int64_t scored = 0;
  for (int64_t i = 0; i < 1000; ++i) {
    for (const double nll : corpus.true_nll(i, 129)) {
      sum += nll;
      scored += nll > 0;
    }
  }
  CHECK(scored == 127000);
  CHECK(sum / scored == Approx(1.2159).margin(5e-5));  // published for these documents
  CHECK(sum / scored == Approx(kEntropy).margin(3 * 0.0016));
}

TEST_CASE("sigma shares that part of the contexts among the domains", "[synthetic]") {
  DataOptions options = tagged(4, 4096);
  SECTION("none") {
    options.sigma = 0;
  }
  SECTION("a quarter") {
    options.sigma = 0.25;
  }
  SECTION("all") {
    options.sigma = 1;
  }
  const SyntheticCorpus corpus(options);
  int shared = 0;
  for (int64_t c = 0; c < 4096; ++c) shared += corpus.row(0, c) == corpus.row(3, c);
  CHECK(shared / 4096.0 == Approx(options.sigma).margin(0.02));
}

TEST_CASE("Zipf domains come in proportion to 1/(r+1)", "[synthetic]") {
  DataOptions options = tagged(4);
  options.zipf = 1;
  const SyntheticCorpus corpus(options);
  std::vector<int> counts(4, 0);
  for (int64_t i = 0; i < 20000; ++i) ++counts[corpus.domain_of(i)];
  const double sum = 1 + 1.0 / 2 + 1.0 / 3 + 1.0 / 4;
  for (int r = 0; r < 4; ++r) {
    CHECK(counts[r] / 20000.0 == Approx(1 / (r + 1.0) / sum).margin(0.012));
  }
  CHECK(document(corpus, 11, 1)[0] == 64 + corpus.domain_of(11));
}

TEST_CASE("the forward filter of the latent corpus reaches its entropy rate", "[synthetic]") {
  // Published rates for rho = 1/128.
  const auto [domains, rate] = GENERATE(std::make_pair(8, 1.27321), std::make_pair(16, 1.27922));
  const SyntheticCorpus corpus(latent(domains));
  double sum = 0;
  int64_t count = 0;
  // The start, where the domain is not known yet, is left out.
  for (int64_t s = 0; s < 20; ++s) {
    const auto nll = corpus.true_nll(s, 10000);
    sum = std::accumulate(nll.begin() + 100, nll.end(), sum);
    count += 9900;
  }
  CHECK(sum / count == Approx(rate).margin(3 * 0.75 / std::sqrt(count)));
  CHECK(sum / count > kEntropy);
}

TEST_CASE("the latent filter's probabilities sum to one", "[synthetic]") {
  const SyntheticCorpus corpus(latent(4, 8));
  // P(x_0 = v) of the filter is the mixture over domains of the rows of context 0.
  std::map<int64_t, double> expected;
  for (int d = 0; d < 4; ++d) {
    const auto row = corpus.row(d, 0);
    const double p[] = {0.5, 0.25, 0.125, 0.125};
    for (int j = 0; j < 4; ++j) expected[row[j]] += p[j] / 4;
  }
  std::set<int64_t> seen;
  for (int64_t s = 0; s < 200; ++s) {
    const int64_t token = document(corpus, s, 1)[0];
    CHECK(corpus.true_nll(s, 1)[0] == Approx(-std::log(expected[token])).epsilon(1e-12));
    seen.insert(token);
  }
  CHECK(seen.size() == expected.size());
}

TEST_CASE("a latent corpus without switches keeps its first domain", "[synthetic]") {
  DataOptions options = latent(8);
  options.rho = 0;
  const SyntheticCorpus corpus(options);
  const auto tokens = document(corpus, 11, 200);
  for (int t = 1; t < 200; ++t) {
    const auto row = corpus.row(3, tokens[t - 1]);
    CHECK(std::count(row.begin(), row.end(), tokens[t]) == 1);
  }
  CHECK(corpus.vocab_size() == 64);
}

TEST_CASE("the synthetic source numbers its documents as published", "[synthetic]") {
  const DataOptions options = tagged();
  const SyntheticSource source(options, 3, 32, 32);
  Sequence got(128);

  SECTION("training: 2^20 + run seed · 2^32 + step · sequences per step + sequence") {
    const int64_t i = (int64_t{1} << 20) + (int64_t{3} << 32) + 5 * 32 + 7;
    source.training_sequence(5, 7, 128, got.out());
    CHECK(got.domains == Tokens(128, i % 16));
    const auto text = document(source.corpus(), i, 129);
    CHECK(got.tokens == Tokens(text.begin(), text.end() - 1));
    CHECK(Tokens(got.targets.begin() + 1, got.targets.end()) ==
          Tokens(text.begin() + 2, text.end()));
  }
  SECTION("validation: document i, of which there are 2^20") {
    source.validation_sequence(17, 128, got.out());
    CHECK(got.tokens == document(source.corpus(), 17, 128));
    CHECK(source.num_validation_sequences(128) == 1 << 20);
  }
  SECTION("every domain comes equally often in a step") {
    std::vector<int> counts(16, 0);
    for (int s = 0; s < 32; ++s) {
      source.training_sequence(2, s, 128, got.out());
      ++counts[got.domains.front()];
    }
    CHECK(counts == std::vector<int>(16, 2));
  }
  SECTION("a run seed that does not fit the numbering is refused") {
    CHECK_THROWS_WITH(SyntheticSource(options, uint64_t{1} << 31, 32, 32),
                      Catch::Contains("run.seed 2147483648"));
  }
}

TEST_CASE("targets are scored where the true model knows their probability", "[synthetic]") {
  auto [options, unscored] = GENERATE(std::make_pair(tagged(), 1), std::make_pair(order_two(), 2),
                                      std::make_pair(latent(8), 0));
  const SyntheticSource source(options, 1, 32, 32);
  Sequence got(64);
  source.validation_sequence(9, 64, got.out());
  const Tokens& targets = got.targets;
  CHECK(std::count(targets.begin(), targets.end(), -1) == unscored);
  CHECK(std::count(targets.begin(), targets.begin() + unscored, -1) == unscored);
  CHECK(source.scored_tokens(64) == 64 - unscored);
  const auto nll = source.corpus().true_nll(9, 65);
  CHECK(source.true_model_nll_sum(9, 64) ==
        Approx(std::accumulate(nll.begin() + 1, nll.end(), 0.0)).epsilon(1e-14));
  CHECK(std::count_if(nll.begin() + 1, nll.end(), [](double v) { return v > 0; }) == 64 - unscored);
}

TEST_CASE("a latent sequence names the domain that each token was drawn from", "[synthetic]") {
  const SyntheticSource source(latent(8), 1, 32, 32);
  int64_t changes = 0;
  for (int64_t i = 0; i < 64; ++i) {
    Sequence got(128);
    source.validation_sequence(i, 128, got.out());
    for (size_t t = 1; t < got.tokens.size(); ++t) {
      const auto row = source.corpus().row(got.domains[t], got.tokens[t - 1]);
      REQUIRE(std::count(row.begin(), row.end(), got.tokens[t]) == 1);
      changes += got.domains[t] != got.domains[t - 1];
    }
  }
  CHECK(changes == Approx(64 * 127 / 128.0).epsilon(0.4));  // rho = 1/128 a token
}

TEST_CASE("the tagged corpus has 1.75 bits a token, the latent one no closed form", "[synthetic]") {
  CHECK(*SyntheticSource(tagged(), 1, 32, 32).entropy_rate() == Approx(1.2130076).epsilon(1e-7));
  CHECK_FALSE(SyntheticSource(latent(8), 1, 32, 32).entropy_rate());
}

TEST_CASE("single_domain gives each group of sequences one domain", "[synthetic]") {
  DataOptions options = tagged(4);
  options.sampler = "single_domain";
  const SyntheticSource source(options, 1, 16, 8);
  Sequence got(8);
  std::set<Tokens> seen;
  std::vector<int> groups(4, 0);
  for (int step = 0; step < 4; ++step) {
    for (int group = 0; group < 2; ++group) {
      std::set<int64_t> domains;
      for (int s = 0; s < 8; ++s) {
        source.training_sequence(step, group * 8 + s, 8, got.out());
        domains.insert(got.domains.begin(), got.domains.end());
        Tokens text = got.tokens;
        text.insert(text.end(), got.targets.begin(), got.targets.end());
        seen.insert(text);
      }
      REQUIRE(domains.size() == 1);
      ++groups[*domains.begin()];
    }
  }
  CHECK(groups == std::vector<int>(4, 2));
  CHECK(seen.size() == 64);  // no document twice
}

TEST_CASE("threads that share a corpus read the same documents", "[synthetic]") {
  const SyntheticCorpus alone(tagged());
  const SyntheticCorpus shared(tagged());
  std::vector<std::vector<Tokens>> read(4);
  std::vector<std::thread> threads;
  for (auto& mine : read) {
    threads.emplace_back([&] {
      for (int64_t i = 0; i < 64; ++i) mine.push_back(document(shared, i, 129));
    });
  }
  for (auto& thread : threads) thread.join();
  for (int64_t i = 0; i < 64; ++i) {
    const auto expected = document(alone, i, 129);
    for (const auto& mine : read) CHECK(mine[i] == expected);
  }
}

}  // namespace switchyard
