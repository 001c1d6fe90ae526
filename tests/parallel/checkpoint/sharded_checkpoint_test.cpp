#include "parallel/checkpoint/sharded_checkpoint.h"

#include <ATen/ops/arange.h>

#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "core/base/error.h"
#include "core/checkpoint/hash.h"
#include "core/checkpoint/safetensors.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/parallel/checkpoint/memory_file_ops.h"
#include "tests/parallel/checkpoint/toy_state.h"
#include "tests/support/expect.h"
#include "tests/support/hostile_safetensors.h"
#include "tests/support/temp_folder.h"

using namespace switchyard;
using namespace switchyard::test;
using Catch::Matchers::Contains;

namespace {

constexpr int64_t kExperts = 5;

/// Saves the state of `value` as `step` from `ranks` ranks; returns the manifest's state hash.
std::string save_from(int ranks, FileOps& files, const std::string& parent, double value,
                      int64_t step = 1) {
  std::string hash;
  run_ranks(ranks, [&](Communicator& comm) {
    const ToyState state(comm, kExperts, value);
    const auto saved = save_checkpoint(comm, files, parent, state.list(), toy_metadata(step));
    if (comm.rank() == 0) hash = saved.manifest.state_hash();
  });
  return hash;
}

/// The message of loading `folder` into `ranks` ranks whose state is made by `make`, "" if it
/// loads.
template <class Make>
std::string load_problem(int ranks, FileOps& files, const std::string& folder, const Make& make,
                         ExtraTensors extra = ExtraTensors::kRefuse) {
  try {
    run_ranks(ranks, [&](Communicator& comm) {
      StateList state = make(comm);
      load_checkpoint(comm, files, verify_checkpoint(comm, files, folder), state, extra);
    });
  } catch (const Error& e) {
    CHECK(e.code() == ExitCode::kBadInput);
    return e.what();
  }
  return "";
}

}  // namespace

TEST_CASE("A checkpoint loads on any number of ranks, and the state hash stays") {
  const TempFolder temp;
  SystemFileOps files;
  std::string first = save_from(1, files, temp.path("a"), 3.5);
  std::string folder = temp.path("a/step-00000001");
  for (const int ranks : {2, 3, 1, 4, 5, 2}) {
    CAPTURE(ranks);
    const std::string parent = temp.path(fmt::format("on-{}", ranks));
    run_ranks(ranks, [&](Communicator& comm) {
      const ToyState state(comm, kExperts, 0);
      const auto checkpoint = verify_checkpoint(comm, files, folder);
      load_checkpoint(comm, files, checkpoint, state.list());
      EXPECT(state.difference(3.5) == "", "{}", state.difference(3.5));
      EXPECT(state_hash(comm, state.list()) == first);
      const auto saved = save_checkpoint(comm, files, parent, state.list(),
                                         toy_metadata(1, fmt::format("run{}", ranks)));
      EXPECT(saved.manifest.state_hash() == first);
    });
    folder = parent + "/step-00000001";
  }
  CHECK(save_from(2, files, temp.path("b"), 4) != first);
}

TEST_CASE("The state hash sees values, names, dtypes and shapes") {
  const auto comm_hash = [](const StateList& state) {
    std::string hash;
    run_ranks(1, [&](Communicator& comm) { hash = state_hash(comm, state); });
    return hash;
  };
  const at::Tensor x = at::arange(6, at::kFloat), y = at::arange(1, 7, at::kFloat);
  std::set<std::string> hashes;
  hashes.insert(comm_hash({{"a", x}}));
  hashes.insert(comm_hash({{"b", x}}));
  hashes.insert(comm_hash({{"a", x.view({2, 3})}}));
  hashes.insert(comm_hash({{"a", x.view({3, 2})}}));
  hashes.insert(comm_hash({{"a", x.view(at::kInt)}}));
  hashes.insert(comm_hash({{"a", y}}));
  hashes.insert(comm_hash({{"a", x}, {"b", x}}));
  hashes.insert(comm_hash({}));
  CHECK(hashes.size() == 8);
  CHECK(comm_hash({{"a", x}, {"b", y}}) == comm_hash({{"b", y}, {"a", x}}));
  // The definition, written out: XXH3-128 of one line a field, tensors sorted by name.
  CHECK(comm_hash({{"a", x}}) == hash_hex("a\nF32\n6\n" + hash_hex(x) + "\n"));
}

TEST_CASE("Files hold what the manifest says, and no name holds a rank") {
  MemoryFileOps files;
  save_from(3, files, "/run/checkpoints", 2, 100);
  const std::string folder = "/run/checkpoints/step-00000100";
  const Manifest manifest = read_manifest(files, folder);
  CHECK(manifest.metadata.step == 100);
  CHECK(manifest.metadata.run_id == "run");
  CHECK(manifest.metadata.numbers.at("wall_s") == 1.5);
  CHECK(manifest.metadata.topology.at("ranks") == "2");
  CHECK(manifest.config_hash() == hash_hex(manifest.metadata.config));
  CHECK(manifest.tensors.size() == 5 + 2 * kExperts);
  REQUIRE(manifest.files.size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    const SafetensorsFile file(files, folder + "/" + manifest.files[i].name);
    CHECK(file.hash().hash == manifest.files[i].hash);
    for (const auto& entry : file.header().tensors)
      CHECK(entry.name.find("rank") == std::string::npos);
  }
  CHECK(files.list("/run/checkpoints") == std::vector<std::string>{"step-00000100"});
}

TEST_CASE("Saving a step again replaces it") {
  MemoryFileOps files;
  save_from(2, files, "/c", 1, 7);
  const std::string second = save_from(1, files, "/c", 2, 7);
  CHECK(files.list("/c") == std::vector<std::string>{"step-00000007"});
  CHECK(read_manifest(files, "/c/step-00000007").state_hash() == second);
}

TEST_CASE("A state that the checkpoint does not match is refused by name, nothing written") {
  MemoryFileOps files;
  save_from(2, files, "/c", 2);
  const std::string folder = "/c/step-00000001";
  const auto with = [](auto change) {
    return [change](Communicator& comm) {
      StateList state = ToyState(comm, kExperts, 0).list();
      change(state, comm.rank());
      return state;
    };
  };
  const auto everything = [](StateList&, int) {};
  CHECK(load_problem(2, files, folder, with(everything)) == "");
  CHECK_THAT(load_problem(2, files, folder,
                          [](Communicator& comm) { return ToyState(comm, 6, 0).list(); }),
             Contains("\"layers.0.bias\" is F32 [5] in the checkpoint, F32 [6] in this run"));
  CHECK_THAT(load_problem(2, files, folder, with([](StateList& state, int rank) {
                            if (rank == 1)
                              state.push_back({"layers.0.experts.9.gate_up", at::zeros({7})});
                          })),
             Contains("lacks \"layers.0.experts.9.gate_up\""));
  CHECK_THAT(load_problem(2, files, folder, with([](StateList& state, int rank) {
                            if (rank == 0)
                              std::erase_if(state, [](const StateItem& item) {
                                return item.name == "layers.0.experts.0.gate_up";
                              });
                          })),
             Contains("has \"layers.0.experts.0.gate_up\", which this run has not"));
  CHECK_THAT(load_problem(2, files, folder, with([](StateList& state, int) {
                            state[0].tensor = state[0].tensor.to(at::kDouble);
                          })),
             Contains("\"embed.weight\" is F32 [5, 3] in the checkpoint, F64 [5, 3] in this run"));
  CHECK_THAT(load_problem(2, files, folder, with([](StateList& state, int rank) {
                            if (rank == 1) state.push_back(state[0]);
                          })),
             Contains("rank 1 lists the state tensor embed.weight twice"));
  CHECK_THAT(load_problem(2, files, folder, with([](StateList& state, int rank) {
                            if (rank == 1) state[0].tensor = at::zeros({3, 5});
                          })),
             Contains("embed.weight is F32 [5, 3] on rank 0 and F32 [3, 5] on rank 1"));

  run_ranks(2, [&](Communicator& comm) {
    const ToyState state(comm, kExperts, 0);
    StateList wanted = state.list();
    wanted.push_back({"unknown", at::zeros({1})});
    bool refused = false;
    try {
      load_checkpoint(comm, files, verify_checkpoint(comm, files, folder), wanted);
    } catch (const Error&) {
      refused = true;
    }
    EXPECT(refused);
    EXPECT(state.difference(0) == "", "{} was written", state.difference(0));
  });
}

TEST_CASE("A part of the state loads when the rest is to be ignored") {
  MemoryFileOps files;
  save_from(2, files, "/c", 2);
  const auto weights = [](Communicator& comm) {
    StateList state = ToyState(comm, kExperts, 0).list();
    std::erase_if(state, [](const StateItem& item) { return item.name.ends_with("exp_avg"); });
    return state;
  };
  CHECK(load_problem(3, files, "/c/step-00000001", weights, ExtraTensors::kIgnore) == "");
  CHECK_THAT(load_problem(3, files, "/c/step-00000001", weights),
             Contains("has \"layers.0.experts.0.gate_up.exp_avg\"") &&
                 Contains("\"layers.0.experts.4.gate_up.exp_avg\", which"));
}

TEST_CASE("traps: a checkpoint that lacks an expert must fail") {
  MemoryFileOps files;
  run_ranks(2, [&](Communicator& comm) {
    StateList state = ToyState(comm, kExperts, 2).list();
    std::erase_if(
        state, [](const StateItem& item) { return item.name.starts_with("layers.0.experts.3."); });
    save_checkpoint(comm, files, "/c", state, toy_metadata(1));
  });
  CHECK_THAT(
      load_problem(2, files, "/c/step-00000001",
                   [](Communicator& comm) { return ToyState(comm, kExperts, 0).list(); }),
      Contains("lacks \"layers.0.experts.3.gate_up\", \"layers.0.experts.3.gate_up.exp_avg\""));
}

TEST_CASE("What is not a checkpoint is named as such") {
  MemoryFileOps files;
  files.make_folder("/c");
  files.make_folder("/c/empty");
  const auto any = [](Communicator&) { return StateList{}; };
  CHECK_THAT(load_problem(2, files, "/c/none", any), Contains("/c/none: no such checkpoint"));
  CHECK_THAT(load_problem(2, files, "/c/empty", any), Contains("has no manifest.json"));
}

TEST_CASE("A file that nobody listed is told and ignored") {
  MemoryFileOps files;
  save_from(2, files, "/c", 2);
  write_file(files, "/c/step-00000001/notes.txt", "mine");
  run_ranks(2, [&](Communicator& comm) {
    const auto checkpoint = verify_checkpoint(comm, files, "/c/step-00000001");
    EXPECT(checkpoint.notices.size() == 1);
    EXPECT(checkpoint.notices[0].find("notes.txt") != std::string::npos);
  });
}

TEST_CASE("No name from a checkpoint forges a line of a message, or breaks it") {
  const std::string name =
      GENERATE(as<std::string>{}, "a\nerror: [io] all is well\x1b[31m\r", std::string(1000, 'n'));
  const std::string folder = "/c/step-00000001", path = folder + "/rank-00000.safetensors";
  MemoryFileOps files;
  run_ranks(1, [&](Communicator& comm) {
    save_checkpoint(comm, files, "/c", {{name, at::zeros({1})}}, toy_metadata(1));
  });
  const auto problem = [&] {
    const std::string text =
        load_problem(2, files, folder, [](Communicator&) { return StateList{}; });
    CHECK(is_one_line(text));
    CHECK(text.size() < 1000);
    return text;
  };
  CHECK_THAT(problem(), Contains("has \"" + name.substr(0, 1)) && Contains(", which this run"));
  SECTION("of a tensor that is damaged") {
    files.contents(path).back() ^= 1;
    CHECK_THAT(problem(), Contains("tensor \"") && Contains("is damaged"));
  }
  SECTION("of a tensor that is not listed") {
    std::string other = name;
    other.front() = 'x';
    files.remove_file(path);
    write_safetensors(files, path, {{other, at::zeros({1})}});
    CHECK_THAT(problem(), Contains("tensor \"") && Contains("is not what the manifest lists"));
  }
  SECTION("of a file that nobody listed") {
    write_file(files, folder + "/" + name, "mine");
    run_ranks(1, [&](Communicator& comm) {
      const std::string notice = verify_checkpoint(comm, files, folder).notices.at(0);
      EXPECT(is_one_line(notice) && notice.size() < 1000, "{}", notice);
    });
  }
}
