#include "core/metrics/json_writer.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/base/counter_rng.h"

namespace switchyard {

TEST_CASE("numbers read back to the same bits", "[json]") {
  std::vector<double> values = {0.0, -0.0, 0.1, 1.0 / 3, 1e-320, 1.7976931348623157e308, 300};
  for (uint64_t i = 0; i < 2000; ++i) values.push_back(std::bit_cast<double>(hash({1, i})));
  for (const double value : values) {
    if (!std::isfinite(value)) continue;
    const std::string text = json_number(value);
    CHECK(std::bit_cast<uint64_t>(std::strtod(text.c_str(), nullptr)) ==
          std::bit_cast<uint64_t>(value));
  }
  CHECK(json_number(0.1) == "0.1");
}

TEST_CASE("what is no number is null", "[json]") {
  CHECK(json_number(std::nan("")) == "null");
  CHECK(json_number(std::numeric_limits<double>::infinity()) == "null");
}

TEST_CASE("texts are escaped", "[json]") {
  CHECK(json_text("a\"b\\c\n\x01") == "\"a\\\"b\\\\c\\u000a\\u0001\"");
  CHECK(json_text("größer") == "\"größer\"");
}

TEST_CASE("objects keep the order of their keys", "[json]") {
  JsonObject inner;
  inner.add("b", std::vector<double>{1, 0.5}).add("a", std::vector<std::vector<int64_t>>{{1}, {}});
  JsonObject object;
  object.add("z", int64_t{9007199254740993}).add("y", "text").add("x", std::optional<double>());
  object.add("w", inner).add_flag("v", true);
  CHECK(object.text() ==
        R"({"z":9007199254740993,"y":"text","x":null,"w":{"b":[1,0.5],"a":[[1],[]]},"v":true})");
  CHECK(JsonObject().text() == "{}");
}

}  // namespace switchyard
