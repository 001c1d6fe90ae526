#include "trainers/run/checkpoint_manager.h"

#include <catch2/catch.hpp>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "core/config/forms.h"
#include "parallel/checkpoint/checkpoint_folder.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/support/expect.h"
#include "tests/support/temp_folder.h"
#include "trainers/run/checkpoint_commands.h"

using namespace switchyard;
using Catch::Matchers::Contains;
using test::TempFolder;

namespace {

CheckpointMetadata metadata(int64_t step, const std::string& config = "run: {seed: 1}\n") {
  return {step, "run", config, "the data", {{"ranks", "1"}}, {}};
}

StateList state_of(int64_t value) {
  return {{"w", torch::full({4}, value, torch::kLong)}};
}

/// One process's view of a run's checkpoints.
struct Run {
  explicit Run(const std::string& path, int64_t every = 10, int64_t keep = 3)
      : folder(path + "/checkpoints"),
        comm(make_local_communicator()),
        manager(*comm, files, folder, {every, keep}) {}

  void save(int64_t step) { manager.save(state_of(step), metadata(step)); }
  std::vector<int64_t> steps() { return checkpoint_steps(files, folder); }
  void damage(int64_t step) {
    files.remove_file(folder + "/" + step_folder_name(step) + "/rank-00000.safetensors");
  }

  SystemFileOps files;
  std::string folder;
  std::unique_ptr<Communicator> comm;
  CheckpointManager manager;
};

std::string yaml_of(TrainConfig config) {
  return resolved_yaml(*Fields::bind(config), Origins{});
}

}  // namespace

TEST_CASE("A run saves every N steps, at the end and when asked") {
  const TempFolder temp;
  Run run(temp.path("run"));
  CHECK_FALSE(run.manager.due(9, 25, false));
  CHECK(run.manager.due(10, 25, false));
  CHECK(run.manager.due(25, 25, false));
  CHECK(run.manager.due(9, 25, true));
  run.save(10);
  CHECK_FALSE(run.manager.due(10, 25, false));
  CHECK_FALSE(run.manager.due(10, 25, true));

  Run never(temp.path("never"), 0);
  CHECK_FALSE(never.manager.due(10, 25, false));
  CHECK_FALSE(never.manager.due(25, 25, false));
  CHECK(never.manager.due(9, 25, true));
}

TEST_CASE("Only the newest checkpoints stay") {
  const TempFolder temp;
  Run run(temp.path("run"), 10, 2);
  for (const int64_t step : {10, 20, 30}) run.save(step);
  CHECK((run.steps() == std::vector<int64_t>{20, 30}));
}

TEST_CASE("resume: auto takes the newest, must wants one, never takes none") {
  const TempFolder temp;
  Run run(temp.path("run"));
  CHECK_FALSE(run.manager.find("auto").has_value());
  CHECK_THROWS_WITH(run.manager.find("must"), Contains("run.resume: must, but"));
  for (const int64_t step : {10, 20}) run.save(step);
  CHECK(run.manager.find("auto")->manifest.metadata.step == 20);
  CHECK(run.manager.find("must")->manifest.metadata.step == 20);
  CHECK_FALSE(run.manager.find("never").has_value());
  CHECK(run.manager.take_notices().empty());
}

TEST_CASE("resume: auto passes damaged checkpoints loudly and never starts again silently") {
  const TempFolder temp;
  Run run(temp.path("run"));
  for (const int64_t step : {10, 20, 30}) run.save(step);
  run.damage(30);
  run.damage(20);

  const auto found = run.manager.find("auto");
  REQUIRE(found.has_value());
  CHECK(found->manifest.metadata.step == 10);
  const auto notices = run.manager.take_notices();
  REQUIRE(notices.size() == 2);
  CHECK_THAT(notices[0], Contains("WARNING") && Contains("step-00000030"));
  CHECK_THAT(notices[1], Contains("WARNING") && Contains("step-00000020"));

  SECTION("what was skipped is set aside once the older one is loaded") {
    StateList state = state_of(0);
    run.manager.load(*found, state);
    CHECK(state[0].tensor[0].item<int64_t>() == 10);
    CHECK((run.steps() == std::vector<int64_t>{10}));
    CHECK(run.manager.take_notices().size() == 2);
    CHECK_FALSE(run.manager.due(10, 25, true));
    CHECK(run.manager.find("auto").has_value());
    CHECK(run.manager.take_notices().empty());
  }
  SECTION("all of them damaged is an error") {
    run.damage(10);
    for (const char* resume : {"auto", "must"})
      CHECK_THROWS_WITH(run.manager.find(resume),
                        Contains("none of its 3 checkpoints is whole") && Contains("resume=never"));
  }
}

TEST_CASE("A checkpoint given by path is taken or refused, never replaced by another") {
  const TempFolder temp;
  Run run(temp.path("run"));
  for (const int64_t step : {10, 20, 30}) run.save(step);
  const std::string second = run.folder + "/step-00000020";

  SECTION("the run goes on from there, and what was newer is set aside") {
    StateList state = state_of(0);
    run.manager.load(*run.manager.find(second), state);
    CHECK(state[0].tensor[0].item<int64_t>() == 20);
    CHECK((run.steps() == std::vector<int64_t>{10, 20}));
  }
  SECTION("damaged, it is an error") {
    run.damage(20);
    CHECK_THROWS_WITH(run.manager.find(second), Contains("step-00000020"));
    CHECK_THROWS_WITH(run.manager.find(temp.path("none")), Contains("no such run or checkpoint"));
  }
  SECTION("another run's checkpoint takes over the whole folder") {
    Run other(temp.path("other"));
    StateList state = state_of(0);
    for (const int64_t step : {5, 40}) other.save(step);
    other.manager.load(*other.manager.find(second), state);
    CHECK(other.steps().empty());
    CHECK((run.steps() == std::vector<int64_t>{10, 20, 30}));
    CHECK(other.manager.due(20, 25, false));
  }
  SECTION("a run means its newest whole checkpoint") {
    run.damage(30);
    Run other(temp.path("other"));
    CHECK(other.manager.find(temp.path("run"))->manifest.metadata.step == 20);
    CHECK_THAT(other.manager.take_notices().at(0), Contains("WARNING"));
  }
}

TEST_CASE("The remains of an interrupted save are cleaned up and told") {
  const TempFolder temp;
  Run run(temp.path("run"));
  run.save(10);
  temp.write("run/checkpoints/step-00000020.tmp-dead/rank-00000.safetensors", "half");
  CHECK(run.manager.find("auto")->manifest.metadata.step == 10);
  CHECK_THAT(run.manager.take_notices().at(0), Contains("step-00000020.tmp-dead"));
}

TEST_CASE("Notices and choices are the same on every rank") {
  const TempFolder temp;
  Run run(temp.path("run"));
  for (const int64_t step : {10, 20}) run.save(step);
  run.damage(20);
  run_ranks(3, [&](Communicator& comm) {
    SystemFileOps files;
    CheckpointManager manager(comm, files, run.folder, {10, 3});
    StateList state = state_of(0);
    manager.load(*manager.find("auto"), state);
    EXPECT(state[0].tensor[0].item<int64_t>() == 10);
    EXPECT(manager.take_notices().size() == 2);
    const std::string id = make_run_id(comm);
    EXPECT(id == broadcast_text(comm, id));
    manager.save(state_of(30), metadata(30));
  });
  CHECK((run.steps() == std::vector<int64_t>{10, 30}));
}

TEST_CASE("Run ids are file names and differ") {
  const auto comm = make_local_communicator();
  const std::string a = make_run_id(*comm), b = make_run_id(*comm);
  CHECK(a.size() == 12);
  CHECK(a.find_first_not_of("0123456789abcdef") == std::string::npos);
  CHECK(a != b);
}

TEST_CASE("A run resumes with other steps and rates, not with another model") {
  TrainConfig saved;
  saved.run.name = "a";
  VerifiedCheckpoint checkpoint{"runs/a/checkpoints/step-00000010", {}, {}};
  checkpoint.manifest.metadata = metadata(10, yaml_of(saved));
  const auto resume = [&](const std::function<void(TrainConfig&)>& change,
                          const std::string& data = "the data") {
    TrainConfig now = saved;
    change(now);
    return check_resume(checkpoint, now, data);
  };

  CHECK(resume([](TrainConfig&) {}).empty());
  CHECK(resume([](TrainConfig& now) { now.run.dir = "elsewhere"; }).empty());
  const auto allowed = resume([](TrainConfig& now) {
    now.train.steps = 999;
    now.optim.lr = 0.5;
    now.checkpoint.every = 7;
    now.parallel.expert = 2;
  });
  CHECK(allowed.size() == 4);
  CHECK_THAT(allowed[0], Contains("resumed with another ") && Contains("2"));

  CHECK_THROWS_WITH(resume([](TrainConfig& now) {
                      now.model.hidden_dim = 64;
                      now.run.seed = 9;
                    }),
                    Contains("runs/a/checkpoints/step-00000010") &&
                        Contains("model.hidden_dim: 128 → 64") && Contains("run.seed: 1 → 9") &&
                        Contains("run.dir=") && Contains("run.resume=never"));
  CHECK_THROWS_WITH(resume([](TrainConfig& now) { now.moe.top_k = 1; }), Contains("moe.top_k"));
  CHECK_THROWS_WITH(resume([](TrainConfig&) {}, "other data"), Contains("have changed"));
}

TEST_CASE("ckpt ls and ckpt verify say what is there and what is wrong") {
  const TempFolder temp;
  Run run(temp.path("run"));
  for (const int64_t step : {10, 20}) run.save(step);
  const std::string listed = checkpoint_list_text(run.files, temp.path("run"));
  CHECK_THAT(listed, Contains("step-00000010  step 10") && Contains("step-00000020  step 20") &&
                         Contains("1 tensors in 1 files  ranks 1"));
  CHECK_THAT(checkpoint_verify_text(run.files, temp.path("run")), Contains("ok\n"));

  temp.write("run/checkpoints/step-00000010/manifest.json", "{}");
  run.damage(20);
  CHECK_THAT(checkpoint_list_text(run.files, temp.path("run")), Contains("DAMAGED"));
  CHECK_THROWS_WITH(checkpoint_verify_text(run.files, temp.path("run")),
                    Contains("2 of 2 damaged") && Contains("step-00000010/manifest.json") &&
                        Contains("rank-00000.safetensors: missing"));
  CHECK_THROWS_WITH(checkpoint_list_text(run.files, temp.path("none")), Contains("no such run"));
}

TEST_CASE("ckpt ls shows what a manifest says on one line") {
  const TempFolder temp;
  Run run(temp.path("run"));
  CheckpointMetadata forged = metadata(10);
  forged.topology["ranks"] = "1\nstep-00000020\x1b[31m";
  save_checkpoint(*run.comm, run.files, run.folder, state_of(10), forged);
  CHECK_THAT(checkpoint_list_text(run.files, temp.path("run")),
             Contains("  ranks 1\\nstep-00000020\\u001b[31m  state "));
}

TEST_CASE("An old checkpoint that is a link stays, and the run goes on") {
  const TempFolder temp;
  Run run(temp.path("run"), 10, 1), other(temp.path("other"));
  other.save(10);
  run.save(20);
  std::filesystem::create_directory_symlink(other.folder + "/step-00000010",
                                            run.folder + "/step-00000010");
  run.save(30);
  CHECK((run.steps() == std::vector<int64_t>{10, 30}));
  CHECK((other.steps() == std::vector<int64_t>{10}));
  const auto notices = run.manager.take_notices();
  REQUIRE(notices.size() == 1);
  CHECK_THAT(notices[0], Contains("WARNING") && Contains("it is a link"));
}
