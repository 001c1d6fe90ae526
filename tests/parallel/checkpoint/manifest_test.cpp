#include "parallel/checkpoint/manifest.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/checkpoint/hash.h"
#include "tests/support/hostile_safetensors.h"

using namespace switchyard;
using Catch::Matchers::Contains;

namespace {

Manifest small_manifest() {
  Manifest manifest;
  manifest.metadata = {100,      "a1b2",           "model: {num_layers: 2}\n# \"quoted\"\n",
                       "data é", {{"ranks", "2"}}, {{"wall_s", 0.1}, {"best", -1e300}}};
  manifest.files = {{"rank-00000.safetensors", 123, hash_hex("x")},
                    {"rank-00001.safetensors", 0, hash_hex("y")}};
  manifest.tensors = {{"a", at::kFloat, {2, 3}, hash_hex("1"), 0},
                      {"b", at::kLong, {}, hash_hex("2"), 1},
                      {"c", at::kBFloat16, {0}, hash_hex("3"), 1}};
  return manifest;
}

std::string problem(const std::string& text) {
  try {
    parse_manifest(text, "m.json");
  } catch (const CheckpointError& e) {
    return e.what();
  }
  return "accepted";
}

/// The manifest's text with one replacement and the hash made right again: an attack, not damage.
std::string resealed(const std::string& from, const std::string& to) {
  std::string text = write_manifest(small_manifest());
  const auto place = text.find(from);
  REQUIRE(place != std::string::npos);
  text.replace(place, from.size(), to);
  text.replace(text.size() - 36, 32, std::string(32, '0'));
  return text.replace(text.size() - 36, 32, hash_hex(text));
}

}  // namespace

TEST_CASE("A manifest reads back as it was written") {
  const Manifest written = small_manifest();
  const std::string text = write_manifest(written);
  const Manifest read = parse_manifest(text, "m.json");
  CHECK(read.metadata.step == 100);
  CHECK(read.metadata.run_id == "a1b2");
  CHECK(read.metadata.config == written.metadata.config);
  CHECK(read.metadata.fingerprint == written.metadata.fingerprint);
  CHECK(read.metadata.topology == written.metadata.topology);
  CHECK(read.metadata.numbers == written.metadata.numbers);
  CHECK(read.state_hash() == written.state_hash());
  CHECK(read.total_bytes() == 123);
  CHECK(read.find("b")->file == 1);
  CHECK(read.find("d") == nullptr);
  CHECK(write_manifest(read) == text);
}

TEST_CASE("Every bit of a manifest counts") {
  const std::string text = write_manifest(small_manifest());
  size_t accepted = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = text;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      accepted += problem(damaged) == "accepted";
    }
  }
  CHECK(accepted == 0);
}

TEST_CASE("Every truncation and addition is refused") {
  const std::string text = write_manifest(small_manifest());
  for (size_t n = 0; n < text.size(); ++n)
    CHECK_THAT(problem(text.substr(0, n)), Contains("m.json: "));
  CHECK_THAT(problem(text + "\n"), Contains("does not end with its own hash"));
  CHECK_THAT(problem("{}"), Contains("does not end with its own hash"));
  CHECK_THAT(problem(""), Contains("does not end with its own hash"));
}

TEST_CASE("No name from a manifest forges a line of a message") {
  const std::string name = "\"name\":\"a", forged = name + "\\nerror: \\u001b[31m";
  const auto shown = Contains("\"a\\nerror: \\u001b[31m\"");
  const auto problem_of = [&](const std::string& from, const std::string& to) {
    const std::string text = problem(resealed(name + from, forged + to));
    CHECK(test::is_one_line(text));
    return text;
  };
  CHECK_THAT(problem_of("\",\"dtype\":\"F32\"", "\",\"dtype\":\"\\r\""),
             shown && Contains("has the unknown dtype \"\\r\""));
  const std::string before = "\",\"dtype\":\"F32\",\"shape\":";
  CHECK_THAT(problem_of(before + "[2,3]", before + "[-2]"), shown && Contains("has a shape"));
  CHECK_THAT(problem_of(before + "[2,3]", before + "[9007199254740992,9007199254740992]"),
             shown && Contains("too large"));
  const std::string hash = "\",\"dtype\":\"F32\",\"shape\":[2,3],\"hash\":\"" + hash_hex("1");
  CHECK_THAT(problem_of(hash + "\",\"file\":0", hash + "\",\"file\":2"),
             shown && Contains("is in a file that is not listed"));
}

TEST_CASE("A manifest with a right hash and wrong contents is refused") {
  CHECK_THAT(problem(resealed("\"format_version\": 1", "\"format_version\": 2")),
             Contains("format version 2, this program reads version 1"));
  CHECK_THAT(problem(resealed("switchyard checkpoint", "other")), Contains("not the manifest"));
  CHECK_THAT(problem(resealed("\"step\": 100", "\"step\": -1")),
             Contains("step is not an integer"));
  CHECK_THAT(problem(resealed("\"step\": 100", "\"step\": 1e2")),
             Contains("step is not an integer"));
  CHECK_THAT(problem(resealed("\"step\": 100", "\"step\": 100, \"step\": 100")), Contains("twice"));
  CHECK_THAT(problem(resealed("\"step\": 100", "\"stop\": 100")), Contains("lacks step"));
  CHECK_THAT(problem(resealed("\"step\": 100", "\"step\": 100, \"more\": 1")),
             Contains("does not know"));
  CHECK_THAT(problem(resealed("num_layers: 2", "num_layers: 3")), Contains("config_hash"));
  CHECK_THAT(problem(resealed("[2,3]", "[3,2]")), Contains("state_hash"));
  CHECK_THAT(problem(resealed("[2,3]", "[2,-3]")), Contains("shape"));
  CHECK_THAT(problem(resealed("[2,3]", "[9007199254740992,9007199254740992]")),
             Contains("too large"));
  CHECK_THAT(problem(resealed("\"F32\"", "\"F31\"")),
             Contains("\"a\" has the unknown dtype \"F31\""));
  CHECK_THAT(problem(resealed("\"file\":0", "\"file\":2")), Contains("not listed"));
  CHECK_THAT(problem(resealed("\"name\":\"a\"", "\"name\":\"z\"")),
             Contains("order of their names"));
  CHECK_THAT(problem(resealed("rank-00000.safetensors", "../../etc/passwd")),
             Contains("not plain"));
  CHECK_THAT(problem(resealed("rank-00000.safetensors", "manifest.json")), Contains("not plain"));
  CHECK_THAT(problem(resealed("rank-00000.safetensors", "rank-00001.safetensors")),
             Contains("twice"));
  CHECK_THAT(problem(resealed("\"a1b2\"", "\"a/b\"")), Contains("run_id"));
  CHECK_THAT(problem(resealed("{\"ranks\":\"2\"}", "{\"ranks\":2}")), Contains("topology"));
  CHECK_THAT(
      problem(resealed("{\"ranks\":\"2\"}", std::string(1000, '[') + std::string(1000, ']'))),
      Contains("levels deep"));
}
