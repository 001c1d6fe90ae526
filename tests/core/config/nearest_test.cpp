#include "core/config/nearest.h"

#include <catch2/catch.hpp>

using namespace switchyard;

TEST_CASE("the edit distance counts insertions, deletions, substitutions and swaps") {
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance("", "abc") == 3);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("ab", "ba") == 1);
  CHECK(edit_distance("ca", "abc") == 3);
  CHECK(edit_distance("steps", "stesp") == 1);
}

TEST_CASE("case, underscores and hyphens do not count") {
  CHECK(edit_distance("numExperts", "num_experts") == 0);
  CHECK(edit_distance("top-k", "top_k") == 0);
  CHECK(edit_distance("TOPK", "top_k") == 0);
}

TEST_CASE("the nearest candidate is found within a third of its length") {
  const std::vector<std::string> keys = {"num_experts", "top_k", "expert_dim", "lr", "min_lr"};
  CHECK(nearest("num_expert", keys) == "num_experts");
  CHECK(nearest("nmu_experts", keys) == "num_experts");
  CHECK(nearest("topk", keys) == "top_k");
  CHECK(nearest("rl", keys) == "lr");
  CHECK(nearest("minlr", keys) == "min_lr");
  CHECK(nearest("experts", keys) == "num_experts");
  CHECK(nearest("banana", keys).empty());
  CHECK(nearest("", keys).empty());
  CHECK(nearest("x", {}).empty());
}

TEST_CASE("of equally near candidates the first is taken") {
  CHECK(nearest("aX", {"ab", "ac"}) == "ab");
}

TEST_CASE("a suggestion always lists what is allowed") {
  CHECK(suggestion("sigmod", {"softmax", "sigmoid"}) ==
        "; did you mean `sigmoid`? Allowed: softmax, sigmoid");
  CHECK(suggestion("banana", {"softmax", "sigmoid"}) == "; allowed: softmax, sigmoid");
}

TEST_CASE("a word that starts or contains the other is near too") {
  CHECK(nearest("logging", {"log", "run"}) == "log");
  CHECK(nearest("directory", {"name", "dir"}) == "dir");
  CHECK(nearest("router_type", {"top_k", "type"}) == "type");
  CHECK(nearest("xlogx", {"log"}).empty());
}

TEST_CASE("a message is one line that hides nothing") {
  CHECK(one_line("a: `b` ≥ 2, 日本, ü") == "a: `b` ≥ 2, 日本, ü");
  CHECK(one_line("x\nerror: [y]\r\t") == "x\\nerror: [y]\\r\\t");
  CHECK(one_line("\x1b[31m\x7f") == "\\u001b[31m\\u007f");
  CHECK(one_line(std::string_view("a\0b", 3)) == "a\\u0000b");
  CHECK(one_line("\u0085\u009b2K\u2028\u2029") == "\\u0085\\u009b2K\\u2028\\u2029");
  CHECK(one_line("\u202Aa\u202E\u2066\u2069\u200F") == "\\u202aa\\u202e\\u2066\\u2069\\u200f");
  SECTION("nor bytes that are no text") {
    CHECK(one_line("a\xff\xc3") == "a\\xff\\xc3");
    CHECK(one_line("\xed\xa0\x80") == "\\xed\\xa0\\x80");
    CHECK(one_line("\xe2\x80") == "\\xe2\\x80");
  }
  SECTION("and stays as it is when it is shown again") {
    const std::string once = one_line("\n\xff\u202e");
    CHECK(one_line(once) == once);
  }
}
