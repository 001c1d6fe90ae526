#include <algorithm>
#include <catch2/catch.hpp>
#include <map>

#include "tests/support/bad_input.h"
#include "tests/support/tiny_run.h"

// What a start is refused that takes weights or assignments of another run.
namespace switchyard::test {
namespace {

/// Three steps, where nothing else is said.
Words train(const TempFolder& temp, const std::string& dir, const Words& overrides) {
  Words words = {"train", temp.write("tiny.yaml", kTinyConfig), "run.dir=" + temp.path(dir)};
  words.insert(words.end(), overrides.begin(), overrides.end());
  const auto sets_steps = [](const std::string& word) { return word.starts_with("train.steps="); };
  if (std::none_of(words.begin(), words.end(), sets_steps)) words.push_back("train.steps=3");
  return words;
}

void finish(const TempFolder& temp, const Words& overrides) {
  const auto outcome = run(switchyard(1, train(temp, "run", overrides)), temp.path());
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
}

/// A run of two ranks beside one of `shared` and `first`; DIR in a word is the test's folder.
BadInput beside(const std::string& name, Words shared, Words first, Words second) {
  return {name, 2, 2, [=](const TempFolder& temp) {
            const auto all = [&](const Words& more) {
              Words words = shared;
              words.insert(words.end(), more.begin(), more.end());
              for (std::string& word : words)
                if (const size_t at = word.find("DIR/"); at != std::string::npos)
                  word.replace(at, 4, temp.path());
              return words;
            };
            finish(temp, all(first));
            return train(temp, "other", all(second));
          }};
}

BadInput replay(const std::string& name, const std::string& change) {
  return beside(name, {}, {"train.record_routing=DIR/trace"},
                {"train.replay_routing=DIR/trace", change});
}

TEST_CASE("Each bad start from another run gets the one line that docs/errors.md shows") {
  const Words hash = {"moe.router.type=hash", "moe.balance=[]", "moe.bias.type=none"};
  const std::string record = "train.record_routing=DIR/trace";
  compare_with_docs(
      "start", {
                   beside("starting a hash router from the weights of another seed", hash, {},
                          {"run.seed=2", "run.init_from=DIR/run"}),
                   beside("a trace that is not there", {}, {}, {"train.replay_routing=DIR/none"}),
                   replay("a trace of another model", "moe.num_experts=4"),
                   replay("a trace of another seed", "run.seed=2"),
                   replay("a trace of another corpus", "data.seed=2"),
                   replay("a trace of fewer steps", "train.steps=4"),
                   beside("recording where steps are recorded already", {record}, {}, {}),
               });
}

/// Names and sizes of all files below a folder.
std::map<std::string, uintmax_t> files_below(const std::string& folder) {
  std::map<std::string, uintmax_t> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[entry.path()] = entry.file_size();
  return files;
}

TEST_CASE("A new start that is refused leaves the old run where it is") {
  const TempFolder temp;
  finish(temp, {"train.record_routing=" + temp.path("trace")});
  const auto before = files_below(temp.path("run"));
  for (const Words& bad :
       {Words{"train.replay_routing=/nonexistent"}, Words{"run.init_from=/nonexistent"},
        Words{"train.record_routing=" + temp.path("trace")},
        Words{"train.record_routing=" + temp.write("file", "") + "/trace"},
        Words{"data.type=text", "data.paths=[" + temp.path("none.txt") + "]"}}) {
    Words words = train(temp, "run", bad);
    words.push_back("run.resume=never");
    const auto outcome = run(switchyard(2, words), temp.path());
    INFO(bad[0] << "\n" << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(files_below(temp.path("run")) == before);
    CHECK_FALSE(std::filesystem::exists(temp.path("run~1")));
  }

  SECTION("and a good one sets it aside, though its weights come from there") {
    const auto outcome =
        run(switchyard(
                1, train(temp, "run", {"run.resume=never", "run.init_from=" + temp.path("run")})),
            temp.path());
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    CHECK(std::filesystem::exists(temp.path("run~1/summary.json")));
    CHECK(outcome.err.find("weights from ") != std::string::npos);
  }
}

}  // namespace
}  // namespace switchyard::test
