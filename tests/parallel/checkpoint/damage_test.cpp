#include <catch2/catch.hpp>
#include <iostream>
#include <random>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "parallel/checkpoint/checkpoint_folder.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/parallel/checkpoint/memory_file_ops.h"
#include "tests/parallel/checkpoint/toy_state.h"
#include "tests/support/expect.h"

using namespace switchyard;
using namespace switchyard::test;
using Catch::Matchers::Contains;

namespace {

const std::string kOld = "/c/step-00000001", kNew = "/c/step-00000002";

void save(FileOps& files, double value, int64_t step, int ranks = 2) {
  run_ranks(ranks, [&](Communicator& comm) {
    const ToyState state(comm, 5, value);
    save_checkpoint(comm, files, "/c", state.list(), toy_metadata(step));
  });
}

/// Two checkpoints, values 10 and 20.
std::unique_ptr<MemoryFileOps> two_checkpoints() {
  auto files = std::make_unique<MemoryFileOps>();
  save(*files, 10, 1);
  save(*files, 20, 2);
  return files;
}

/// The message of the newer checkpoint, "" when nothing is found wrong with it. Where it is
/// refused, the search must end at the older one and say why.
std::string damage_of_newest(MemoryFileOps& files) {
  const auto comm = make_local_communicator();
  std::string text;
  try {
    verify_checkpoint(*comm, files, kNew);
    return "";
  } catch (const Error& e) {
    CHECK(e.code() == ExitCode::kBadInput);
    text = e.what();
  }
  const auto found = find_newest_checkpoint(*comm, files, "/c");
  REQUIRE(found.checkpoint.has_value());
  CHECK(found.checkpoint->folder == kOld);
  CHECK((found.skipped == std::vector<std::string>{text}));
  const ToyState state(*comm, 5, 0);
  load_checkpoint(*comm, files, *found.checkpoint, state.list());
  CHECK(state.difference(10) == "");
  return text;
}

std::vector<std::string> files_of(MemoryFileOps& files, const std::string& folder) {
  std::vector<std::string> paths;
  for (const auto& name : files.list(folder)) paths.push_back(folder + "/" + name);
  return paths;
}

}  // namespace

TEST_CASE("Every flipped bit is found before anything is loaded") {
  const auto files = two_checkpoints();
  std::mt19937_64 random(3);
  constexpr int kFlips = 1000;
  int detected = 0;
  for (const auto& path : files_of(*files, kNew)) {
    for (int i = 0; i < kFlips; ++i) {
      std::string& bytes = files->contents(path);
      const std::string whole = bytes;
      bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
      const std::string text = damage_of_newest(*files);
      detected += !text.empty();
      CHECK_THAT(text, Contains(path));
      files->contents(path) = whole;
    }
  }
  CHECK(detected == 3 * kFlips);
  CHECK(damage_of_newest(*files) == "");
  std::cout << "flipped bits: " << detected << " of " << 3 * kFlips << " found\n";
}

TEST_CASE("A flipped bit in a tensor is told with the tensor's name") {
  const auto files = two_checkpoints();
  files->contents(kNew + "/rank-00001.safetensors").back() ^= 1;
  CHECK_THAT(damage_of_newest(*files),
             Contains("rank-00001.safetensors: tensor ") && Contains("is damaged"));
}

TEST_CASE("Every truncation and every page of zeros is found") {
  const auto files = two_checkpoints();
  int cases = 0;
  for (const auto& path : files_of(*files, kNew)) {
    const std::string whole = files->contents(path);
    for (size_t part = 0; part < 64; ++part) {
      files->contents(path) = whole.substr(0, whole.size() * part / 64);
      CHECK_THAT(damage_of_newest(*files), Contains(path));
      ++cases;
    }
    for (size_t begin = 0; begin < whole.size(); begin += 256) {
      std::string& bytes = files->contents(path);
      bytes = whole;
      const size_t end = std::min(begin + 256, whole.size());
      std::fill(bytes.begin() + static_cast<ptrdiff_t>(begin),
                bytes.begin() + static_cast<ptrdiff_t>(end), '\0');
      if (bytes == whole) continue;
      CHECK_THAT(damage_of_newest(*files), Contains(path));
      ++cases;
    }
    files->contents(path) = whole + '\0';
    CHECK_THAT(damage_of_newest(*files), Contains(path));
    files->contents(path) = whole;
  }
  std::cout << "truncations and zeroed blocks: " << cases << " of " << cases << " found\n";
}

TEST_CASE("Swapped, older and deleted files are found") {
  const auto files = two_checkpoints();
  const auto swap = [&](const std::string& a, const std::string& b) {
    std::swap(files->contents(a), files->contents(b));
  };
  int cases = 0;
  const auto all = files_of(*files, kNew);
  const auto older = files_of(*files, kOld);
  for (size_t i = 0; i < all.size(); ++i) {
    for (size_t j = i + 1; j < all.size(); ++j) {
      swap(all[i], all[j]);
      CHECK(damage_of_newest(*files) != "");
      swap(all[i], all[j]);
      ++cases;
    }
    // The same file of another step: right in itself, and not what the others belong to.
    const std::string whole = files->contents(all[i]);
    files->contents(all[i]) = files->contents(older[i]);
    CHECK(damage_of_newest(*files) != "");
    files->contents(all[i]) = whole;

    files->remove_file(all[i]);
    CHECK_THAT(damage_of_newest(*files),
               Contains(all[i].ends_with("manifest.json") ? "has no manifest.json"
                                                          : "missing, the manifest lists it"));
    write_file(*files, all[i], whole);
    cases += 2;
  }
  CHECK(damage_of_newest(*files) == "");
  std::cout << "swapped, older and deleted files: " << cases << " of " << cases << " found\n";
}

TEST_CASE("A manifest of another step does not make a checkpoint of that step") {
  const auto files = two_checkpoints();
  for (const auto& path : files_of(*files, kNew))
    files->contents(path) = files->contents(kOld + path.substr(kNew.size()));
  const auto comm = make_local_communicator();
  const auto found = find_newest_checkpoint(*comm, *files, "/c");
  REQUIRE(found.checkpoint.has_value());
  CHECK(found.checkpoint->folder == kOld);
  REQUIRE(found.skipped.size() == 1);
  CHECK_THAT(found.skipped[0], Contains("step-00000002: holds step 1"));
}

TEST_CASE("Damage found by one rank ends the search on all ranks alike") {
  const auto files = two_checkpoints();
  files->contents(kNew + "/rank-00001.safetensors")[100] ^= 4;
  run_ranks(3, [&](Communicator& comm) {
    const auto found = find_newest_checkpoint(comm, *files, "/c");
    EXPECT(found.checkpoint && found.checkpoint->folder == kOld);
    EXPECT(found.skipped.size() == 1);
  });
}
