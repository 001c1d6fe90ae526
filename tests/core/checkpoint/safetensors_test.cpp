#include "core/checkpoint/safetensors.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <random>

#include "core/base/error.h"
#include "core/checkpoint/hash.h"
#include "core/checkpoint/tensor_bytes.h"
#include "tests/parallel/checkpoint/faulty_file_ops.h"
#include "tests/support/temp_folder.h"

using namespace switchyard;
using Catch::Matchers::Contains;

namespace {

// Written by the Python package safetensors 0.8.0 (safetensors.numpy.save, metadata {"format":
// "pt"}) from the tensors of reference_tensors().
constexpr const char* kReferenceHex =
    "f8010000000000007b225f5f6d657461646174615f5f223a7b22666f726d6174223a227074227d2c2261223a7b2264"
    "74797065223a22493634222c227368617065223a5b325d2c22646174615f6f666673657473223a5b302c31365d7d2c"
    "227363616c6172223a7b226474797065223a22463634222c227368617065223a5b5d2c22646174615f6f6666736574"
    "73223a5b31362c32345d7d2c22622e776569676874223a7b226474797065223a22463332222c227368617065223a5b"
    "322c335d2c22646174615f6f666673657473223a5b32342c34385d7d2c226e6f6e65223a7b226474797065223a2246"
    "3332222c227368617065223a5b302c345d2c22646174615f6f666673657473223a5b34382c34385d7d2c22715c22c3"
    "a95c6e223a7b226474797065223a22493332222c227368617065223a5b315d2c22646174615f6f666673657473223a"
    "5b34382c35325d7d2c2268223a7b226474797065223a22463136222c227368617065223a5b315d2c22646174615f6f"
    "666673657473223a5b35322c35345d7d2c2275223a7b226474797065223a225538222c227368617065223a5b315d2c"
    "22646174615f6f666673657473223a5b35342c35355d7d2c22666c6167223a7b226474797065223a22424f4f4c222c"
    "227368617065223a5b335d2c22646174615f6f666673657473223a5b35352c35385d7d7d2020202020200100000000"
    "000000feffffffffffffff0000000000000440000000000000803f0000004000004040000080400000a04003000000"
    "003e07010001";

std::string reference_bytes() {
  const std::string hex = kReferenceHex;
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2)
    bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

StateList reference_tensors() {
  return {{"b.weight", at::arange(6, at::kFloat).view({2, 3})},
          {"a", at::tensor({1, -2}, at::kLong)},
          {"flag", at::tensor({1, 0, 1}, at::kInt).to(at::kBool)},
          {"scalar", at::full({}, 2.5, at::kDouble)},
          {"none", at::zeros({0, 4}, at::kFloat)},
          {"h", at::full({1}, 1.5, at::kHalf)},
          {"u", at::full({1}, 7, at::kByte)},
          {"q\"\xc3\xa9\n", at::full({1}, 3, at::kInt)}};
}

bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() && at::equal(a, b);
}

}  // namespace

TEST_CASE("The writer's bytes are those of the reference writer, in any order of tensors") {
  const test::TempFolder temp;
  SystemFileOps files;
  StateList tensors = reference_tensors();
  std::mt19937 random(1);
  for (int i = 0; i < 5; ++i) {
    const std::string name = fmt::format("f{}", i);
    write_safetensors(files, temp.path(name), tensors);
    CHECK(temp.read(name) == reference_bytes());
    std::shuffle(tensors.begin(), tensors.end(), random);
  }
}

TEST_CASE("A file of the reference writer is read as it was written") {
  const test::TempFolder temp;
  SystemFileOps files;
  const SafetensorsFile file(files, temp.write("ref", reference_bytes()));
  CHECK(file.header().metadata == std::map<std::string, std::string>{{"format", "pt"}});
  CHECK(file.header().tensors.size() == 8);
  for (const auto& [name, tensor] : reference_tensors()) {
    CAPTURE(name);
    CHECK(same(file.read(name), tensor));
  }
  CHECK_THROWS_WITH(file.read("c"), Contains("has no tensor \"c\""));
}

TEST_CASE("Every dtype that a tensor can hold comes back with its bits") {
  const test::TempFolder temp;
  SystemFileOps files;
  StateList tensors;
  for (const char* name :
       {"BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16",
        "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64"}) {
    const auto dtype = dtype_from_name(name);
    REQUIRE(dtype.has_value());
    CHECK(dtype_name(*dtype) == name);
    at::Tensor tensor = at::empty({3}, *dtype);
    auto* bytes = static_cast<unsigned char*>(tensor.mutable_data_ptr());
    for (size_t i = 0; i < tensor.nbytes(); ++i)
      bytes[i] = static_cast<unsigned char>(*dtype == at::kBool ? i % 2 : 17 * i + 3);
    tensors.push_back({name, tensor});
  }
  write_safetensors(files, temp.path("all"), tensors);
  const SafetensorsFile file(files, temp.path("all"));
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor read = file.read(name);
    CHECK(read.scalar_type() == tensor.scalar_type());
    CHECK(bytes_of(read) == bytes_of(tensor));
  }
}

TEST_CASE("Views are saved and filled through their strides") {
  const test::TempFolder temp;
  SystemFileOps files;
  const at::Tensor flat = at::arange(12, at::kFloat);
  write_safetensors(files, temp.path("v"),
                    {{"t", flat.view({3, 4}).t()}, {"n", flat.narrow(0, 2, 3)}});
  const SafetensorsFile file(files, temp.path("v"));
  CHECK(same(file.read("t"), flat.view({3, 4}).t()));

  at::Tensor target = at::zeros({12}, at::kFloat);
  const auto hash = file.read_into(*file.header().find("t"), target.view({3, 4}).t());
  CHECK(same(target, flat));
  CHECK(hash == hash_hex(flat.view({3, 4}).t()));
  target.zero_();
  file.read_into(*file.header().find("n"), target.narrow(0, 2, 3));
  CHECK(target.sum().item<double>() == 2 + 3 + 4);
}

TEST_CASE("A target of another shape or dtype is refused by name") {
  const test::TempFolder temp;
  SystemFileOps files;
  write_safetensors(files, temp.path("f"), {{"w", at::zeros({2, 3}, at::kFloat)}});
  const SafetensorsFile file(files, temp.path("f"));
  const auto& entry = *file.header().find("w");
  CHECK_THROWS_WITH(file.read_into(entry, at::zeros({3, 2}, at::kFloat)),
                    Contains("\"w\" is F32 [2, 3] in the file, F32 [3, 2] is expected"));
  CHECK_THROWS_WITH(file.read_into(entry, at::zeros({2, 3}, at::kDouble)), Contains("F64 [2, 3]"));
}

TEST_CASE("Writer and reader find the same hashes") {
  const test::TempFolder temp;
  SystemFileOps files;
  const HashedFile written = write_safetensors(files, temp.path("f"), reference_tensors());
  const HashedFile found = SafetensorsFile(files, temp.path("f")).hash();
  CHECK(written.bytes == reference_bytes().size());
  CHECK(written.hash == hash_hex(reference_bytes()));
  CHECK(found.bytes == written.bytes);
  CHECK(found.hash == written.hash);
  REQUIRE(found.tensors.size() == written.tensors.size());
  for (size_t i = 0; i < found.tensors.size(); ++i)
    CHECK(found.tensors[i].hash == written.tensors[i].hash);
}

TEST_CASE("A file without tensors is a file") {
  const test::TempFolder temp;
  SystemFileOps files;
  write_safetensors(files, temp.path("f"), {});
  CHECK(SafetensorsFile(files, temp.path("f")).header().tensors.empty());
  write_safetensors(files, temp.path("g"), {}, {});
  CHECK(temp.read("g") == std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
}

TEST_CASE("A replaced file is the old one or the whole new one, with nothing beside it") {
  const StateList before = {{"a", at::zeros({3}, at::kFloat)}};
  int64_t operations = 0;
  for (const auto fault : {test::Fault::kNone, test::Fault::kError, test::Fault::kStopInside}) {
    for (int64_t at = 0; at == 0 || (fault != test::Fault::kNone && at < operations); ++at) {
      const test::TempFolder temp;
      SystemFileOps files;
      write_safetensors(files, temp.path("f"), before);
      const std::string old = temp.read("f");
      temp.write("f.partial", "what a job that ended has left");
      std::atomic<bool> stopped{false};
      test::FaultyFileOps faulty(files, stopped, fault, at);
      bool threw = false;
      try {
        replace_safetensors(faulty, temp.path("f"), reference_tensors());
      } catch (const IoError&) {
        threw = true;
      }
      CAPTURE(at, operations);
      if (fault == test::Fault::kNone) operations = faulty.count();
      CHECK(threw == (fault != test::Fault::kNone));
      // The name is synced last, after the rename.
      const bool replaced = !threw || at == operations - 1;
      CHECK(temp.read("f") == (replaced ? reference_bytes() : old));
      if (fault != test::Fault::kStopInside && at > 1)
        CHECK(files.kind(temp.path("f.partial")) == FileOps::Kind::kMissing);
    }
  }
  CHECK(operations > 10);
}

TEST_CASE("The writer refuses what no reader would take") {
  const test::TempFolder temp;
  SystemFileOps files;
  const at::Tensor one = at::zeros({1}, at::kFloat);
  const auto problem = [&](const StateList& tensors) {
    try {
      write_safetensors(files, temp.path("f"), tensors);
    } catch (const CheckpointError& e) {
      CHECK(files.kind(temp.path("f")) == FileOps::Kind::kMissing);
      return std::string(e.what());
    }
    return std::string("written");
  };
  CHECK_THAT(problem({{"a", one}, {"a", one}}), Contains("\"a\"") && Contains("twice"));
  CHECK_THAT(problem({{"__metadata__", one}}), Contains("cannot be stored"));
  CHECK_THAT(problem({{std::string(1025, 'x'), one}}), Contains("cannot be stored"));
  CHECK_THAT(problem({{"\xff", one}}), Contains("not valid UTF-8"));
  CHECK_THAT(problem({{"a", at::zeros({1, 1, 1, 1, 1, 1, 1, 1, 1})}}),
             Contains("cannot be stored"));
  CHECK_THAT(problem({{"a", at::zeros({1}, at::kComplexDouble)}}), Contains("cannot be stored"));
}
