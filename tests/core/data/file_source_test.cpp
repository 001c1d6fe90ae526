#include "core/data/file_source.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "core/base/error.h"
#include "tests/support/temp_folder.h"
#include "tests/support/token_bytes.h"

namespace switchyard {
namespace {

using Tokens = std::vector<int64_t>;
using test::raw_tokens;
using test::TempFolder;

Sequence training(const TokenSource& source, int64_t step, int64_t sequence, int64_t length) {
  Sequence s(length);
  source.training_sequence(step, sequence, length, s.out());
  return s;
}

Sequence validation(const TokenSource& source, int64_t index, int64_t length) {
  Sequence s(length);
  source.validation_sequence(index, length, s.out());
  return s;
}

/// A file of 16-bit tokens first, first + 1, ...: every token tells its place.
std::string counting(int64_t first, int64_t count) {
  Tokens tokens;
  for (int64_t i = 0; i < count; ++i) tokens.push_back(first + i);
  return raw_tokens<uint16_t>(tokens);
}

DataOptions token_options(const TempFolder& folder) {
  DataOptions options;
  options.type = "tokens";
  options.root = folder.path();
  return options;
}

void add_domain(DataOptions& options, const std::string& name, std::vector<std::string> paths,
                double weight = 1) {
  options.domains.push_back({name, {{std::move(paths), ""}, weight}});
}

SourceContext context(int64_t sequences = 8, int64_t length = 10) {
  SourceContext context;
  context.sequences_per_step = sequences;
  context.micro_sequences = sequences;
  context.sequence_length = length;
  return context;
}

}  // namespace

TEST_CASE("text is read byte by byte, with the next byte as target", "[file_source]") {
  const TempFolder folder;
  folder.write("a.txt", "0123456789abcdefghijklmnopqrstuvwxyz");
  DataOptions options;
  options.type = "text";
  options.root = folder.path();
  options.files.paths = {"a.txt"};
  options.validation = 0.5;
  const FileSource source(options, context(1, 8));
  CHECK(source.vocab_size() == 256);
  CHECK(source.domains() == std::vector<std::string>{"all"});
  CHECK(source.num_validation_sequences(8) == 2);  // 18 bytes hold two windows and a target
  for (int64_t i = 0; i < 2; ++i) {
    const auto s = validation(source, i, 8);
    CHECK((s.tokens[0] == 'i' || s.tokens[0] == 'q'));
    CHECK(Tokens(s.tokens.begin() + 1, s.tokens.end()) ==
          Tokens(s.targets.begin(), s.targets.end() - 1));
    CHECK(s.targets.back() == s.tokens.back() + 1);
  }
}

TEST_CASE("no token comes twice in an epoch of its domain, and all are training tokens",
          "[file_source]") {
  const TempFolder folder;
  folder.write("a.bin", counting(0, 1000));
  folder.write("b.bin", counting(1000, 500));
  folder.write("c.bin", counting(2000, 2000));
  DataOptions options = token_options(folder);
  add_domain(options, "ab", {"a.bin", "b.bin"}, 1);
  add_domain(options, "c", {"c.bin"}, 3);
  const FileSource source(options, context());
  const int64_t windows[] = {source.domain_size(0, 10).windows, source.domain_size(1, 10).windows};
  CHECK(windows[0] >= 138);  // 950 + 475 training tokens
  CHECK(windows[0] <= 141);

  std::map<std::pair<int64_t, int64_t>, std::set<int64_t>> seen;  // (domain, epoch) → tokens
  int64_t drawn[] = {0, 0};
  bool once = true, in_training = true;
  for (int64_t step = 0; step < 100; ++step) {
    for (int64_t n = 0; n < 8; ++n) {
      const auto s = training(source, step, n, 10);
      auto& epoch =
          seen[{s.domains.front(), drawn[s.domains.front()]++ / windows[s.domains.front()]}];
      for (const int64_t token : s.tokens) {
        once = once && epoch.insert(token).second;
        in_training = in_training && (token < 950 || (token >= 1000 && token < 1475) ||
                                      (token >= 2000 && token < 3900));
      }
    }
  }
  CHECK(once);
  CHECK(in_training);
  CHECK(drawn[0] == 200);
  CHECK(drawn[1] == 600);
  CHECK(seen.size() >= 5);  // several epochs were drawn
}

TEST_CASE("a training sequence is a function of seed, step and number alone", "[file_source]") {
  const TempFolder folder;
  folder.write("a.bin", counting(0, 3000));
  DataOptions options = token_options(folder);
  options.files.paths = {"a.bin"};
  const FileSource source(options, context());
  const auto wanted = training(source, 17, 3, 10);
  training(source, 2, 1, 10);
  CHECK(training(source, 17, 3, 10) == wanted);
  CHECK(training(FileSource(options, context()), 17, 3, 10) == wanted);

  SourceContext other = context();
  other.run_seed = 2;
  CHECK_FALSE(training(FileSource(options, other), 17, 3, 10) == wanted);
}

TEST_CASE("validation holds the last share of each file, each window once", "[file_source]") {
  const TempFolder folder;
  folder.write("a.bin", counting(0, 1000));
  folder.write("b.bin", counting(1000, 1000));
  folder.write("c.bin", counting(2000, 4000));
  DataOptions options = token_options(folder);
  add_domain(options, "ab", {"a.bin", "b.bin"});
  add_domain(options, "c", {"c.bin"});
  const FileSource source(options, context());
  // 4 + 4 windows of ab, as many of c; then the 11 that c has left.
  CHECK(source.num_balanced_validation_sequences(10) == 16);
  REQUIRE(source.num_validation_sequences(10) == 27);
  std::set<int64_t> seen;
  bool in_validation = true;
  for (int64_t i = 0; i < 27; ++i) {
    const auto s = validation(source, i, 10);
    CHECK(s.domains.front() == (i < 16 ? i % 2 : 1));
    for (const int64_t token : s.tokens) {
      CHECK(seen.insert(token).second);
      in_validation = in_validation && ((token >= 950 && token < 1000) ||
                                        (token >= 1950 && token < 2000) || token >= 5800);
    }
  }
  CHECK(in_validation);
  SourceContext other = context();
  other.run_seed = 9;
  CHECK(validation(FileSource(options, other), 3, 10) == validation(source, 3, 10));
}

TEST_CASE("files of their own may serve for validation", "[file_source]") {
  const TempFolder folder;
  folder.write("train.bin", counting(0, 200));
  folder.write("val.bin", counting(500, 41));
  DataOptions options = token_options(folder);
  options.files.paths = {"train.bin"};
  options.validation_files.paths = {"val.bin"};
  const FileSource source(options, context());
  CHECK(source.num_validation_sequences(10) == 4);
  CHECK(validation(source, 0, 10).tokens[0] >= 500);
  CHECK(source.domain_size(0, 10).tokens == 241);
}

TEST_CASE("a sample never crosses a document", "[file_source]") {
  const TempFolder folder;
  DataOptions options = token_options(folder);
  options.files.paths = {"a.bin"};
  options.validation = 0.2;

  SECTION("documents of a fixed length") {
    folder.write("a.bin", counting(0, 50 * 21));
    options.documents = {DocumentOptions::Kind::kLength, 0, 21};
    const FileSource source(options, context());
    CHECK(source.domain_size(0, 10).windows == 80);  // two in each of 40 documents
    for (int64_t n = 0; n < 80; ++n) {
      const auto s = training(source, n / 8, n % 8, 10);
      CHECK(s.tokens.front() / 21 == s.targets.back() / 21);
    }
  }
  SECTION("documents that end with a separator") {
    Tokens tokens;
    for (int64_t d = 1; d <= 60; ++d) {
      tokens.insert(tokens.end(), 10 + d % 7, d);
      tokens.push_back(0);
    }
    folder.write("a.bin", raw_tokens<uint16_t>(tokens));
    options.documents = {DocumentOptions::Kind::kSeparator, 0, 0};
    const FileSource source(options, context());
    for (int64_t n = 0; n < 100; ++n) {
      const auto s = training(source, n / 8, n % 8, 10);
      CHECK(std::set<int64_t>(s.tokens.begin(), s.tokens.end()) == std::set<int64_t>{s.tokens[0]});
      CHECK((s.targets.back() == 0 || s.targets.back() == s.tokens[0]));
    }
  }
  SECTION("a length that does not divide the file is refused") {
    folder.write("a.bin", counting(0, 100));
    options.documents = {DocumentOptions::Kind::kLength, 0, 21};
    CHECK_THROWS_WITH(FileSource(options, context()),
                      Catch::Contains("not a whole number of documents of 21"));
  }
}

TEST_CASE("single_domain gives a micro-batch one domain", "[file_source]") {
  const TempFolder folder;
  folder.write("a.bin", counting(0, 5000));
  folder.write("b.bin", counting(5000, 5000));
  DataOptions options = token_options(folder);
  add_domain(options, "a", {"a.bin"}, 3);
  add_domain(options, "b", {"b.bin"}, 1);
  options.sampler = "single_domain";
  SourceContext cut = context(8);
  cut.micro_sequences = 4;
  const FileSource source(options, cut);
  std::set<int64_t> seen;
  int64_t groups_of_a = 0;
  bool once = true;
  for (int64_t group = 0; group < 64; ++group) {
    std::set<int64_t> domains;
    for (int64_t n = 0; n < 4; ++n) {
      const auto s = training(source, group / 2, group % 2 * 4 + n, 10);
      domains.insert(s.domains.front());
      if (groups_of_a < 48) {
        for (const int64_t token : s.tokens) once = once && seen.insert(token).second;
      }
    }
    REQUIRE(domains.size() == 1);
    groups_of_a += *domains.begin() == 0;
  }
  CHECK(once);
  CHECK(groups_of_a == 48);
}

TEST_CASE("the vocabulary of token files is the model's or what they hold", "[file_source]") {
  const TempFolder folder;
  folder.write("a.bin", counting(0, 300));
  DataOptions options = token_options(folder);
  options.files.paths = {"a.bin"};
  CHECK(FileSource(options, context()).vocab_size() == 300);
  SourceContext given = context();
  given.vocab_size = 1000;
  CHECK(FileSource(options, given).vocab_size() == 1000);
  given.vocab_size = 256;
  CHECK_THROWS_WITH(FileSource(options, given),
                    Catch::Contains("token 256 at position 256 is outside the vocabulary of 256"));
}

TEST_CASE("formats are found out or taken as told", "[file_source]") {
  const TempFolder folder;
  folder.write("a.bin", test::llmc_header(20240520, 1, 400) + counting(0, 400));
  DataOptions options = token_options(folder);
  options.files.paths = {"a.bin"};
  CHECK(FileSource(options, context()).domain_size(0, 10).tokens == 400);
  options.format = "raw";
  CHECK(FileSource(options, context()).domain_size(0, 10).tokens == 912);
  options.format = "llmc";
  folder.write("a.bin", counting(0, 1000));
  CHECK_THROWS_WITH(FileSource(options, context()), Catch::Contains("is not llm.c's"));
}

TEST_CASE("patterns find their files in order", "[file_source]") {
  const TempFolder folder;
  folder.write("x/b.bin", counting(100, 100));
  folder.write("x/a.bin", counting(0, 100));
  folder.write("x/c.txt", "no tokens");
  DataOptions options = token_options(folder);
  options.files.paths = {"x/*.bin"};
  CHECK(FileSource(options, context(8, 4)).domain_size(0, 4).files == 2);
  options.files.paths = {"x/a.bin", "x/*.bin"};
  CHECK_THROWS_WITH(FileSource(options, context()), Catch::Contains("listed twice"));
  options.files.paths = {"y/*.bin"};
  CHECK_THROWS_WITH(FileSource(options, context()), Catch::Contains("no file matches"));
}

TEST_CASE("a domain too short for a sequence is refused by name", "[file_source]") {
  const TempFolder folder;
  folder.write("a.bin", counting(0, 1000));
  folder.write("b.bin", counting(0, 100));
  DataOptions options = token_options(folder);
  add_domain(options, "long", {"a.bin"});
  add_domain(options, "short", {"b.bin"});
  CHECK_THROWS_WITH(FileSource(options, context(8, 10)),
                    Catch::Contains("domain short: its validation part of 5 tokens"));
  options.validation = 0;
  CHECK(FileSource(options, context(8, 10)).num_validation_sequences(10) == 0);
  CHECK_THROWS_WITH(FileSource(options, context(8, 100)),
                    Catch::Contains("domain short: its training part of 100 tokens"));
}

TEST_CASE("the fingerprint follows the content, not the place", "[file_source]") {
  const TempFolder here, there;
  here.write("a.bin", counting(0, 400));
  there.write("b.bin", counting(0, 400));
  DataOptions options = token_options(here);
  options.files.paths = {"a.bin"};
  const std::string print = FileSource(options, context()).fingerprint();
  DataOptions moved = token_options(there);
  moved.files.paths = {"b.bin"};
  CHECK(FileSource(moved, context()).fingerprint() == print);
  there.write("b.bin", counting(1, 400));
  CHECK(FileSource(moved, context()).fingerprint() != print);
}

TEST_CASE("Files that are all for evaluation give every document whole, and no training sequence") {
  const TempFolder folder;
  folder.write("ids.bin", counting(0, 51));
  DataOptions options = token_options(folder);
  options.files.paths = {"ids.bin"};
  options.documents = {DocumentOptions::Kind::kLength, 0, 17};
  options.validation = 1;
  const FileSource source(options, context(8, 16));
  REQUIRE(source.num_validation_sequences(16) == 3);
  std::set<int64_t> scored;
  for (int64_t i = 0; i < 3; ++i)
    for (const int64_t target : validation(source, i, 16).targets) scored.insert(target);
  CHECK(scored.size() == 48);  // all but the first token of each document: 0, 17 and 34
  CHECK(scored.count(0) + scored.count(17) + scored.count(34) == 0);
  CHECK_THROWS_AS(training(source, 0, 0, 16), DataError);
}

}  // namespace switchyard
