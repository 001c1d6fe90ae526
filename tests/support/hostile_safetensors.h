#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

// Safetensors files made by hand that no reader may take, and the pieces that they are made of.

namespace switchyard::test {

inline std::string with_size(uint64_t header_bytes, const std::string& rest) {
  std::string head(8, '\0');
  std::memcpy(head.data(), &header_bytes, 8);
  return head + rest;
}

inline std::string file_of(const std::string& header, size_t data_bytes) {
  return with_size(header.size(), header + std::string(data_bytes, 'd'));
}

inline std::string entry(const std::string& dtype, const std::string& shape,
                         const std::string& offsets) {
  return "{\"dtype\":" + dtype + ",\"shape\":" + shape + ",\"data_offsets\":" + offsets + "}";
}

inline std::string tensor_a(const std::string& dtype, const std::string& shape,
                            const std::string& offsets) {
  return "{\"a\":" + entry(dtype, shape, offsets) + "}";
}

struct Attack {
  std::string file;
  std::string expected;  ///< part of the message
};

/// Numbers that no size, place or extent may be.
inline const std::vector<std::string> kBadNumbers = {"-1",
                                                     "-0",
                                                     "1.0",
                                                     "4e0",
                                                     "0.5",
                                                     "1e400",
                                                     "\"4\"",
                                                     "null",
                                                     "true",
                                                     "[]",
                                                     "{}",
                                                     "9007199254740993",
                                                     "9223372036854775807",
                                                     "9223372036854775808",
                                                     "18446744073709551615",
                                                     "18446744073709551616",
                                                     "-9223372036854775808",
                                                     "1e308"};

inline void add_number_attacks(std::vector<Attack>& attacks) {
  for (const auto& number : kBadNumbers) {
    attacks.push_back({file_of(tensor_a("\"F32\"", "[" + number + "]", "[0,4]"), 4), ""});
    attacks.push_back({file_of(tensor_a("\"F32\"", "[1," + number + "]", "[0,4]"), 4), ""});
    attacks.push_back({file_of(tensor_a("\"F32\"", "[0," + number + "]", "[0,0]"), 0), ""});
    attacks.push_back({file_of(tensor_a("\"F32\"", "[1]", "[" + number + ",4]"), 4), ""});
    attacks.push_back({file_of(tensor_a("\"F32\"", "[1]", "[0," + number + "]"), 4), ""});
    attacks.push_back(
        {file_of(tensor_a("\"U8\"", "[" + number + "]", "[0," + number + "]"), 4), ""});
  }
}

inline void add_dtype_attacks(std::vector<Attack>& attacks) {
  for (const char* dtype : {"F4", "F6_E2M3", "F6_E3M2", "F128", "f32", "float32", "", "F32 ",
                            "Q4_0", "C128", "I128", "F32\\u0000"})
    attacks.push_back(
        {file_of(tensor_a(fmt::format("\"{}\"", dtype), "[4]", "[0,4]"), 4), "dtype"});
  for (const char* dtype : {"1", "null", "[\"F32\"]", "{}", "true"})
    attacks.push_back({file_of(tensor_a(dtype, "[1]", "[0,4]"), 4), "dtype is not a string"});
}

inline void add_shape_attacks(std::vector<Attack>& attacks) {
  for (const char* shape :
       {"[4294967296,4294967296]", "[4294967296,4294967296,0]", "[0,4294967296,4294967296]",
        "[4611686018427387904,4]", "[2097152,2097152,2097152,2]", "[9007199254740992,1024]",
        "[9007199254740992,9007199254740992,9007199254740992,0]", "[65536,65536,65536,65536]"})
    attacks.push_back({file_of(tensor_a("\"F32\"", shape, "[0,0]"), 0), ""});
  // A product that wraps to the size that the offsets promise.
  attacks.push_back({file_of(tensor_a("\"F32\"", "[4611686018427387905]", "[0,4]"), 4), ""});
  attacks.push_back({file_of(tensor_a("\"F64\"", "[2305843009213693953]", "[0,8]"), 8), ""});
  attacks.push_back(
      {file_of(tensor_a("\"U8\"", "[4294967297,4294967295,1]", "[0,0]"), 0), "too large"});
  for (const char* shape : {"4", "\"[4]\"", "null", "{}", "[[4]]", "[4,]", "{\"0\":4}", "true"})
    attacks.push_back({file_of(tensor_a("\"U8\"", shape, "[0,4]"), 4), ""});
  attacks.push_back(
      {file_of(tensor_a("\"U8\"", "[1,1,1,1,1,1,1,1,4]", "[0,4]"), 4), "9 dimensions, at most 8"});
}

inline void add_offset_attacks(std::vector<Attack>& attacks) {
  for (const char* offsets : {"[0,3]", "[0,5]", "[1,5]", "[4,0]", "[4,8]", "[0]", "[]", "[0,4,8]",
                              "null", "\"0,4\"", "{\"0\":0,\"1\":4}", "4", "[4,4]", "[0,0]"})
    attacks.push_back({file_of(tensor_a("\"F32\"", "[1]", offsets), 4), "tensor \"a\""});
  attacks.push_back({file_of(tensor_a("\"F32\"", "[1]", "[[0,4]]"), 4), "levels deep"});
  const auto two = [](const std::string& first, const std::string& second, size_t data) {
    return file_of("{\"a\":" + entry("\"U8\"", "[4]", first) +
                       ",\"b\":" + entry("\"U8\"", "[4]", second) + "}",
                   data);
  };
  attacks.push_back({two("[0,4]", "[0,4]", 4), "overlap"});
  attacks.push_back({two("[0,4]", "[0,4]", 8), "overlap"});
  attacks.push_back({two("[0,4]", "[3,7]", 7), "overlap"});
  attacks.push_back({two("[0,4]", "[3,7]", 8), "overlap"});
  attacks.push_back({two("[0,4]", "[5,9]", 9), "begins at byte 5"});
  attacks.push_back({two("[4,8]", "[8,12]", 12), "begins at byte 4"});
  attacks.push_back({two("[0,4]", "[4,8]", 7), "take 8 bytes, the file holds 7"});
  attacks.push_back({two("[0,4]", "[4,8]", 9), "take 8 bytes, the file holds 9"});
  attacks.push_back({two("[0,4]", "[4,8]", 0), "take 8 bytes"});
  attacks.push_back({file_of("{}", 1), "take 0 bytes, the file holds 1"});
  attacks.push_back({file_of("{\"__metadata__\":{}}", 4), "take 0 bytes"});
  attacks.push_back({file_of(tensor_a("\"F32\"", "[0]", "[2,2]"), 0), "begins at byte 2"});
  attacks.push_back({file_of(tensor_a("\"F32\"", "[0]", "[2,2]"), 4), "begins at byte 2"});
}

inline void add_form_attacks(std::vector<Attack>& attacks) {
  const std::string good = entry("\"U8\"", "[4]", "[0,4]");
  for (const std::string& header : std::vector<std::string>{
           "{\"a\":" + good + ",\"a\":" + good + "}",
           std::string(
               "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}"),
           std::string(
               "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"shape\":[4],\"data_offsets\":[0,4]}}"),
           "{\"__metadata__\":{},\"a\":" + good + ",\"__metadata__\":{}}",
           "{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"},\"a\":" + good + "}",
           "{\"\\u0061\":" + good + ",\"a\":" + good + "}"})
    attacks.push_back({file_of(header, 4), "appears twice"});
  for (const char* metadata : {"[]", "\"pt\"", "1", "null", "{\"k\":1}", "{\"k\":null}",
                               "{\"k\":{}}", "{\"k\":[\"v\"]}", "{\"k\":true}", "true"})
    attacks.push_back(
        {file_of("{\"__metadata__\":" + std::string(metadata) + ",\"a\":" + good + "}", 4),
         "__metadata__"});
  for (const char* value :
       {"null", "[]", "1", "\"x\"", "true", "{}", "{\"dtype\":\"U8\"}",
        "{\"dtype\":\"U8\",\"shape\":[4]}", "{\"shape\":[4],\"data_offsets\":[0,4]}",
        "{\"dtype\":\"U8\",\"data_offsets\":[0,4]}",
        "{\"dtype\":\"U8\",\"shape\":[4],\"offsets\":[0,4]}",
        "{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"packed\":\"zstd\"}"})
    attacks.push_back({file_of("{\"a\":" + std::string(value) + "}", 4), "tensor \"a\""});
  attacks.push_back(
      {file_of("{\"" + std::string(1025, 'n') + "\":" + good + "}", 4), "1025 bytes"});
}

inline void add_json_attacks(std::vector<Attack>& attacks) {
  const std::string good = tensor_a("\"U8\"", "[4]", "[0,4]");
  const std::string open = good.substr(0, good.size() - 1);
  for (const std::string& header :
       std::vector<std::string>{open,
                                good + "}",
                                good + good,
                                good + ",",
                                good + "x",
                                good + std::string(1, '\0'),
                                fmt::format("{}{}", "{'a':", good.substr(5)),
                                fmt::format("{}{}", "{a:", good.substr(5)),
                                open + ",}",
                                "{,}",
                                std::string("{"),
                                std::string("{\""),
                                std::string("{\"a"),
                                std::string("{\"a\""),
                                std::string("{\"a\":"),
                                std::string("{]"),
                                std::string("{\"a\":nan}"),
                                std::string("{\"a\":Infinity}"),
                                fmt::format("{}{}", "{//\n", good.substr(1)),
                                fmt::format("{}{}", "{/**/", good.substr(1)),
                                "{\"\xff\":1}",
                                std::string("{\"\xc3\":1}"),
                                std::string("{\"\xed\xa0\x80\":1}"),
                                std::string("{\"\xf4\x90\x80\x80\":1}"),
                                std::string("{\"\\ud800\":1}"),
                                std::string("{\"\\x61\":1}"),
                                std::string("{\"a\tb\":1}"),
                                fmt::format("{}{}", "{\"a\":", std::string(100000, '[')),
                                fmt::format("{}{}", "{\"a\":", std::string(1000, '{')),
                                std::string("{\"__metadata__\":{\"k\":\"\xff\"}}")})
    attacks.push_back({file_of(header, 4), ""});
  std::string nested;
  for (int i = 0; i < 50000; ++i) nested += "{\"a\":";
  attacks.push_back({file_of(nested, 4), "levels deep"});
  for (const std::string& start : std::vector<std::string>{
           " " + good, "\n" + good, "\xef\xbb\xbf" + good, "[" + good + "]", std::string("null"),
           std::string("\"a\""), std::string("12345678"), std::string(" "), std::string()})
    attacks.push_back({file_of(start, 4), "does not begin with {"});
}

/// Text that would forge or colour lines of a message, or be cut inside a character.
inline void add_message_attacks(std::vector<Attack>& attacks) {
  const std::string forged = "a\\nerror: [io] all is well";
  attacks.push_back({file_of("{\"" + forged + "\":1}", 0), "tensor \"" + forged + "\": not an"});
  attacks.push_back({file_of("{\"" + forged + "\":{},\"" + forged + "\":{}}", 0), forged});
  attacks.push_back({file_of("{\"\\u001b[31mred\":1}", 0), "tensor \"\\u001b[31mred\""});
  attacks.push_back({file_of("{\"a\\rb\\u007f\":1}", 0), "tensor \"a\\rb\\u007f\""});
  attacks.push_back({file_of(tensor_a("\"F32\\nX\"", "[1]", "[0,4]"), 4), "dtype \"F32\\nX\""});
  attacks.push_back(
      {file_of("{\"__metadata__\":{\"" + forged + "\":1}}", 0), "string: \"" + forged});
  for (size_t before = 117; before < 121; ++before) {
    const std::string cut = std::string(before, 'n') + "\xf0\x9f\x98\x80";
    attacks.push_back({file_of("{\"" + cut + "\":1}", 0), "not an object"});
    attacks.push_back({file_of(tensor_a("\"" + cut + "\"", "[1]", "[0,4]"), 4), "dtype \"nnn"});
  }
}

/// Headers that would take far more memory than they have bytes.
inline void add_bulk_attacks(std::vector<Attack>& attacks) {
  std::string zeros = "0", keys = "\"\":0";
  for (int i = 0; i < 100'000; ++i) {
    zeros += ",0";
    keys += fmt::format(",\"{}\":0", i);
  }
  const std::string list = "[" + zeros + "]", object = "{" + keys + "}";
  attacks.push_back({file_of("{\"a\":" + list + "}", 0), "a list of more than 64 entries"});
  attacks.push_back({file_of(tensor_a("\"F32\"", list, "[0,4]"), 4), "a list of more than 64"});
  attacks.push_back({file_of(tensor_a("\"F32\"", "[1]", list), 4), "a list of more than 64"});
  attacks.push_back({file_of("{\"a\":" + object + "}", 0), "an object of more than 100000 keys"});
  attacks.push_back({file_of("{\"__metadata__\":" + object + "}", 0), "more than 100000 keys"});
}

inline void add_size_attacks(std::vector<Attack>& attacks) {
  const std::string good = tensor_a("\"U8\"", "[4]", "[0,4]") + "dddd";
  const uint64_t size = good.size() - 4;
  for (size_t n = 0; n < 8; ++n) attacks.push_back({std::string(n, '\0'), "too short"});
  for (const uint64_t wrong :
       {size - 1, size + 1, size + 4, size + 5, uint64_t{0}, uint64_t{1}, uint64_t{99'999'999}})
    attacks.push_back({with_size(wrong, good), ""});
  for (const uint64_t huge :
       {uint64_t{100'000'001}, uint64_t{1} << 32, uint64_t{1} << 62, uint64_t{1} << 63,
        UINT64_MAX - 8, UINT64_MAX - 7, UINT64_MAX - 1, UINT64_MAX})
    attacks.push_back({with_size(huge, good), "at most 100000000"});
}

/// Whether a message is one that no file has forged lines or colours into.
inline bool is_one_line(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

inline std::vector<Attack> hostile_safetensors() {
  std::vector<Attack> attacks;
  for (const auto add : {add_number_attacks, add_dtype_attacks, add_shape_attacks,
                         add_offset_attacks, add_form_attacks, add_json_attacks,
                         add_message_attacks, add_bulk_attacks, add_size_attacks})
    add(attacks);
  return attacks;
}

}  // namespace switchyard::test
