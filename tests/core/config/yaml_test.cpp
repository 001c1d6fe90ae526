#include "core/config/yaml.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>

#include "tests/core/config/config_test_support.h"
#include "tests/support/temp_folder.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using Catch::Matchers::Equals;
using config_test::error_of;
using test::TempFolder;

namespace {

Value parse(const std::string& text) {
  return parse_yaml(text, "a.yaml");
}

std::string problem(const std::string& text) {
  return error_of([&] { parse(text); });
}

std::string repeat(const std::string& text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

}  // namespace

TEST_CASE("a document becomes a tree with places and key paths") {
  const Value root = parse("moe:\n  top_k: 2\n  balance:\n    - {type: z, coef: 0.1}\nname: 'x'\n");
  const Value* top_k = root.find("moe")->find("top_k");
  CHECK(top_k->scalar == "2");
  CHECK(top_k->path == "moe.top_k");
  CHECK(top_k->mark.text() == "a.yaml:2:10");
  CHECK(top_k->key_mark.text() == "a.yaml:2:3");
  const Value& term = root.find("moe")->find("balance")->items.at(0);
  CHECK(term.path == "moe.balance.0");
  CHECK(term.find("coef")->path == "moe.balance.0.coef");
  CHECK(term.find("coef")->mark.text() == "a.yaml:4:23");
  CHECK(root.find("name")->quoted);
  CHECK_FALSE(top_k->quoted);
}

TEST_CASE("maps keep the order written") {
  const Value root = parse("c: 1\na: 2\nb: 3\n");
  CHECK(root.map[0].first == "c");
  CHECK(root.map[1].first == "a");
  CHECK(root.map[2].first == "b");
}

TEST_CASE("empty values and documents are null") {
  CHECK(parse("").is_null());
  CHECK(parse("# only a comment\n").is_null());
  const Value root = parse("a:\nb: ~\nc: null\nd: ''\n");
  CHECK(root.find("a")->is_null());
  CHECK(root.find("b")->is_null());
  CHECK(root.find("c")->is_null());
  CHECK(root.find("d")->is_scalar());
  CHECK(root.find("a")->mark.text() == "a.yaml:1:1");
}

TEST_CASE("a duplicate key is refused with both places") {
  CHECK_THAT(problem("a: 1\nb: 2\na: 3\n"),
             Equals("[config] a.yaml:3:1: duplicate key `a`, first written at line 1"));
  CHECK_THAT(problem("x:\n  {a: 1, a: 2}\n"), Contains("a.yaml:2:10: duplicate key `a`"));
  CHECK_THAT(problem("a: 1\n'a': 2\n"), Contains("duplicate key `a`"));
}

TEST_CASE("a merge key is refused with a hint") {
  CHECK_THAT(problem("x: &b {a: 1}\ny:\n  <<: *b\n"),
             Contains("a.yaml:3:3: ") && Contains("use `base: other.yaml`"));
}

TEST_CASE("a second document is refused") {
  CHECK_THAT(problem("a: 1\n---\nb: 2\n"), Contains("a second document"));
  CHECK_THAT(problem("a: 1\n---\n"), Contains("a second document"));
  CHECK_THAT(problem("a: 1\n...\nb: 2\n"), Contains("a second document"));
  CHECK_THAT(problem("{a: 1}\nb: 2\n"), Contains("a second document"));
  CHECK_THAT(problem("[1] 2\n"), Contains("a second document"));
  CHECK(parse("---\na: 1\n...\n").find("a")->scalar == "1");
  CHECK(parse("a: 1\n...\n...\n").find("a")->scalar == "1");
}

TEST_CASE("tags are refused") {
  CHECK_THAT(problem("a: !!int 5\n"),
             Contains("a.yaml:1:4: the tag `tag:yaml.org,2002:int` is not allowed"));
  CHECK_THAT(problem("a: !mine [1]\n"), Contains("the tag `!mine`"));
  CHECK_THAT(problem("a: !!map {b: 1}\n"), Contains("the tag"));
  CHECK_THAT(problem("a: ! [1]\n"), Contains("the tag"));
}

TEST_CASE("aliases are copies") {
  const Value root = parse("a: &x {k: [1, 2]}\nb: *x\n");
  CHECK(root.find("b")->find("k")->items.at(1).scalar == "2");
  CHECK(root.find("b")->find("k")->items.at(1).path == "b.k.1");
  SECTION("of the newest anchor of that name") {
    CHECK(parse("a: &x 1\nb: &x 2\nc: *x\n").find("c")->scalar == "2");
  }
  SECTION("and an unknown anchor is an error with its place") {
    CHECK_THAT(problem("a: *nothing\n"), Contains("a.yaml:1:4: not valid YAML"));
  }
}

TEST_CASE("an alias inside its own value is refused") {
  CHECK_THAT(problem("a: &a [*a]\n"),
             Contains("a.yaml:1:8: this alias stands inside the value that it names"));
  CHECK_THAT(problem("&a {x: {y: *a}}\n"), Contains("stands inside"));
}

TEST_CASE("a billion laughs are refused by the number of nodes") {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i <= 9; ++i)
    text +=
        fmt::format("a{0}: &a{0} [{1} *a{2}]\n", i, repeat(fmt::format("*a{}, ", i - 1), 8), i - 1);
  CHECK_THAT(problem(text), Contains("more than 100000 values"));
}

TEST_CASE("deep nesting is refused at 64 levels") {
  CHECK(problem(repeat("[", 64) + repeat("]", 64)).empty());
  CHECK_THAT(problem(repeat("[", 65) + repeat("]", 65)), Contains("more than 64 levels"));
  CHECK_THAT(problem(repeat("{a: ", 20000)), Contains("more than 64 levels"));
  CHECK_THAT(problem(repeat("[", 100000)), Contains("more than 64 levels"));
  CHECK_THAT(problem(repeat("- ", 5000)), Contains("more than 64 levels"));
  SECTION("aliases included") {
    std::string text = "a0: &a0 [x]\n";
    for (int i = 1; i < 70; ++i) text += fmt::format("a{0}: &a{0} [*a{1}]\n", i, i - 1);
    CHECK_THAT(problem(text), Contains("more than 64 levels"));
  }
}

TEST_CASE("bytes that are not UTF-8 are refused with their offset") {
  CHECK_THAT(
      problem("a: \xFF\n"),
      Equals("[config] a.yaml: byte 0xFF at offset 3 is not valid UTF-8; save the file as UTF-8"));
  for (const char* bytes : {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xC3",
                            "\xE2\x82", "\x80", "\xF5"}) {
    CAPTURE(bytes);
    CHECK_THAT(problem("abc: " + std::string(bytes)), Contains("at offset 5 is not valid UTF-8"));
  }
  CHECK(parse("a: äß€😀\n").find("a")->scalar == "äß€😀");
}

TEST_CASE("control characters are refused, line ends of any kind are not") {
  // yaml-cpp takes 0x04 for the end of the file.
  CHECK_THAT(problem("a: 1\n\x04"
                     "b: 2\n"),
             Contains("control character 0x04 at offset 5"));
  CHECK_THAT(problem(std::string("a: \0\n", 5)), Contains("control character 0x00 at offset 3"));
  CHECK(parse("a: 1\r\nb: 2\r\n").find("b")->scalar == "2");
  CHECK(parse("\xEF\xBB\xBF"
              "a: 1\n")
            .find("a")
            ->scalar == "1");
}

TEST_CASE("a key is a word") {
  CHECK_THAT(problem("? [a, b]\n: 1\n"), Contains("a key must be a word"));
  CHECK_THAT(problem("{[a]: 1}\n"), Contains("a key must be a word"));
  CHECK_THAT(problem("'': 1\n"), Contains("a key must be a word"));
  CHECK_THAT(problem("~: 1\n"), Contains("a key must be a word"));
}

TEST_CASE("broken YAML is an error with file, line and column") {
  for (const char* text : {"a: [1, 2\n", "a: {b\n", "a: 'x\n", "a: b: c\n", "\tb: 1\n",
                           "a: 1\n  b: 2\n", "a: %x\n", "- a\nb: 1\n"}) {
    CAPTURE(text);
    CHECK_THAT(problem(text), Catch::Matchers::Matches(R"(\[config\] a\.yaml:\d+:\d+: .+)"));
  }
}

TEST_CASE("a quote that is never closed is refused") {
  for (const char* text :
       {"a: 'x", "a: 'x\n", "a: 'x\nb: 1\n", "a: \"x\n\nb: 1\n", "a: 'x\n\n", "'a\n", "- 'x\n"}) {
    CAPTURE(text);
    CHECK_THAT(problem(text), Contains("not valid YAML"));
  }
  CHECK(parse("a: 'x\n  y'\n").find("a")->scalar == "x y");
  CHECK(parse("a: |\n  x\n  y\n").find("a")->scalar == "x\ny\n");
  CHECK(parse("a: x").find("a")->scalar == "x");
}

TEST_CASE("a value on the command line is YAML whose every node has the same place") {
  const Mark mark{"command line: a.b=[1, {c: 2}]", 0, 0};
  const Value value = parse_inline_yaml("[1, {c: 2}]", mark, "a.b");
  CHECK(value.items.at(1).find("c")->path == "a.b.1.c");
  CHECK(value.items.at(1).find("c")->mark.text() == mark.text());
  CHECK(value.items.at(0).key_mark.text() == mark.text());
  CHECK(parse_inline_yaml("1e-2", mark, "a").as_number() == 1e-2);
  CHECK(parse_inline_yaml("", mark, "a").is_null());
  CHECK(parse_inline_yaml("../x/y.txt", mark, "a").as_text() == "../x/y.txt");
  CHECK_THAT(error_of([&] { parse_inline_yaml("[1", mark, "a"); }),
             Contains("[config] command line: a.b=[1, {c: 2}]: not valid YAML"));
}

TEST_CASE("files") {
  const TempFolder folder;
  SECTION("that exist are read") {
    const std::string path = folder.write("x.yaml", "a: 1\n");
    CHECK(read_yaml_file(path).find("a")->mark.text() == path + ":1:4");
  }
  SECTION("that do not exist are named") {
    CHECK_THAT(error_of([&] { read_yaml_file(folder.path("no.yaml")); }),
               Contains("no.yaml: no such file"));
  }
  SECTION("that are folders are refused") {
    CHECK_THAT(error_of([&] { read_yaml_file(folder.path()); }), Contains("is a folder"));
  }
  SECTION("that are no files are refused, pipes without a wait for their writer") {
    REQUIRE(mkfifo(folder.path("pipe").c_str(), 0600) == 0);
    CHECK_THAT(error_of([&] { read_yaml_file(folder.path("pipe")); }),
               Contains("pipe: is a device, pipe or socket; a config is a YAML file"));
    std::filesystem::create_symlink("pipe", folder.path("link"));
    CHECK_THAT(error_of([&] { read_yaml_file(folder.path("link")); }), Contains("is a device"));
  }
  SECTION("that are links to files are read") {
    folder.write("x.yaml", "a: 1\n");
    std::filesystem::create_symlink("x.yaml", folder.path("link.yaml"));
    CHECK(read_yaml_file(folder.path("link.yaml")).find("a")->as_integer() == 1);
  }
  SECTION("without content are refused") {
    for (const char* text : {"", "# nothing\n", "---\n", "~\n"})
      CHECK_THAT(error_of([&] { read_yaml_file(folder.write("e.yaml", text)); }),
                 Contains("holds no keys"));
  }
  SECTION("that are far too large are refused before they are read") {
    const std::string path = folder.write("l.yaml", "");
    std::filesystem::resize_file(path, 9u << 20);
    CHECK_THAT(error_of([&] { read_yaml_file(path); }),
               Contains("bytes are too many for a config"));
  }
}

TEST_CASE("written YAML reads back to the same tree") {
  const std::string text =
      "name: \"5\"\n"
      "odd: \"a: b # c\\n\\\"q\\\" \\\\\"\n"
      "empty_list: []\n"
      "empty_map: {}\n"
      "\"a: b\": 1\n"
      "block:\n"
      "  list: [1, 2.5, x]\n"
      "  inner:\n"
      "    - type: z\n"
      "      coef: 0.1\n"
      "    - type: y\n"
      "    - [1, 2]\n"
      "  control: \"\\x1B[0m\\t\"\n";
  const Value root = parse(text);
  const std::string written = to_yaml(root);
  CHECK(written == text);
  CHECK(to_yaml(parse(written)) == written);
}

TEST_CASE("comments stand behind values and change nothing") {
  const Value root = parse("a: 1\nb: {c: [x, y]}\n");
  const std::string written = to_yaml(root, [](const Value& value) { return "at " + value.path; });
  CHECK(written ==
        "a: 1                                    # at a\n"
        "b:\n"
        "  c: [x, y]                             # at b.c\n");
  CHECK(to_yaml(parse(written)) == to_yaml(root));
  SECTION("whatever they hold") {
    const std::string hostile = to_yaml(root, [](const Value&) { return "x\nforged: 1"; });
    CHECK_THAT(hostile, Contains("# x\\nforged: 1\n"));
    CHECK(to_yaml(parse(hostile)) == to_yaml(root));
  }
}

TEST_CASE("flow YAML quotes what needs quotes") {
  CHECK(to_flow_yaml(Value::list(
            {Value::of_text("a, b"), Value::of_number(0.5), Value::of_flag(true), Value{}})) ==
        "[\"a, b\", 0.5, true, null]");
  CHECK(to_flow_yaml(Value::of_map({{"sequences", Value::of_integer(4)}})) == "{sequences: 4}");
}
