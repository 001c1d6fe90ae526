#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cstring>
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

/// Names and sizes of all files below a folder.
std::map<std::string, uintmax_t> files_below(const std::string& folder) {
  std::map<std::string, uintmax_t> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) files[entry.path()] = entry.file_size();
  return files;
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

/// A trace of which one file was altered since.
BadInput altered(const std::string& name, const std::function<void(std::string&)>& change) {
  return {name, 2, 2, [=](const TempFolder& temp) {
            finish(temp, {"train.record_routing=" + temp.path("trace")});
            std::string content = temp.read("trace/step-00000002.safetensors");
            change(content);
            temp.write("trace/step-00000002.safetensors", content);
            return train(temp, "other", {"train.replay_routing=" + temp.path("trace")});
          }};
}

void replace(std::string& content, const std::string& from, const std::string& to) {
  const size_t at = content.find(from);
  REQUIRE(at != std::string::npos);
  content.replace(at, from.size(), to);
}

/// The experts of the last token in the last layer.
void give_last_token(std::string& content, const std::array<int32_t, 2>& experts) {
  std::memcpy(content.data() + content.size() - sizeof experts, experts.data(), sizeof experts);
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
                   altered("a step of a trace under another step's name",
                           [](std::string& content) {
                             replace(content, "\"step\":\"2\"", "\"step\":\"3\"");
                           }),
                   altered("a trace with an expert that there is not",
                           [](std::string& content) {
                             give_last_token(content, {7, 8});
                           }),
                   altered("a trace that gives a token one expert twice",
                           [](std::string& content) {
                             give_last_token(content, {3, 3});
                           }),
                   altered("a trace of another type",
                           [](std::string& content) { replace(content, "I32", "F32"); }),
                   altered("a trace without a layer",
                           [](std::string& content) { replace(content, "layers.1", "layers.2"); }),
                   beside("recording where steps are recorded already", {record}, {}, {}),
                   beside("a dry run from weights that are not there", {}, {},
                          {"--dry-run", "run.init_from=DIR/none"}),
                   beside("a dry run from weights of another model", {}, {},
                          {"--dry-run", "run.init_from=DIR/run", "moe.num_experts=4"}),
               });
}

TEST_CASE("A dry run is refused what a start is refused, in the same words, and writes nothing") {
  const TempFolder temp;
  finish(temp, {"train.record_routing=" + temp.path("trace")});
  const std::string record = "train.record_routing=" + temp.path("trace"),
                    replay = "train.replay_routing=" + temp.path("trace"),
                    weights = "run.init_from=" + temp.path("run");
  auto before = files_below(temp.path());
  const auto dry = [&](const std::string& dir, Words words) {
    words.push_back("--dry-run");
    const TempFolder outputs;
    return run(switchyard(2, train(temp, dir, words)), outputs.path());
  };
  for (const auto& [dir, words] : std::vector<std::pair<std::string, Words>>{
           {"other", {"run.init_from=" + temp.path("tiny.yaml")}},
           {"other", {weights, "moe.num_experts=4"}},
           {"other", {replay, "run.seed=2"}},
           {"other", {record}},
           {"other", {"run.resume=" + temp.path("none")}},
           {"run", {"run.seed=2"}}}) {
    const Outcome outcome = dry(dir, words);
    INFO(dir << " " << words[0] << "\n" << outcome.err);
    CHECK(outcome.code == 2);
    CHECK(files_below(temp.path()) == before);
    const TempFolder outputs;
    const Outcome start = run(switchyard(2, train(temp, dir, words)), outputs.path());
    REQUIRE(error_lines(outcome).size() == 1);
    CHECK(error_lines(outcome) == error_lines(start));
    std::filesystem::remove_all(temp.path("other"));
    before = files_below(temp.path());
  }
  for (const auto& [dir, words] : std::vector<std::pair<std::string, Words>>{
           {"other", {weights, replay, "train.record_routing=" + temp.path("again")}},
           {"run", {"train.steps=4", record, "run.init_from=/nonexistent"}},
           {"run", {"run.resume=never"}}}) {
    const Outcome outcome = dry(dir, words);
    INFO(dir << " " << words[0] << "\n" << outcome.err);
    CHECK(outcome.code == 0);
    CHECK(files_below(temp.path()) == before);
  }
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
