#include "trainers/step/trace_folder.h"

#include <torch/torch.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <functional>

#include "core/base/error.h"
#include "core/base/local_communicator.h"
#include "core/checkpoint/safetensors.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/parallel/checkpoint/faulty_file_ops.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tiny_config.h"
#include "trainers/step/train_step.h"

using namespace switchyard;
using switchyard::test::TempFolder;

namespace {

TrainConfig small_config() {
  TrainConfig config = test::tiny_config();
  config.model.max_seq_len = 8;
  config.moe.layers.kind = LayerPattern::Kind::kFirstDense;
  config.moe.layers.first_dense = 1;
  return config;
}

// nll of each step, and the loads of its one MoE layer.
struct Steps {
  std::vector<double> nll;
  std::vector<std::vector<int64_t>> load;
};

std::unique_ptr<TraceFolder> open_trace(FileOps& files, const Training& training) {
  return open_trace_folder(files, *training.world, training.config, training.source->fingerprint());
}

Steps train(const TrainConfig& config, int ranks) {
  Steps result;
  run_ranks(ranks, [&](Communicator& world) {
    auto training = build_training(config, world, at::kCPU);
    SystemFileOps files;
    training->trace = open_trace(files, *training);
    if (training->trace) training->trace->start(0);
    for (int64_t step = 0; step < config.train.steps; ++step) {
      const StepReport report = train_step(*training);
      if (world.rank() != 0) continue;
      result.nll.push_back(report.nll);
      result.load.push_back(report.load[0]);
    }
  });
  return result;
}

// "" where nothing is wrong.
std::string error_of(const std::function<void()>& body) {
  try {
    body();
  } catch (const Error& error) {
    CHECK(error.code() == ExitCode::kBadInput);
    return error.what();
  }
  return "";
}

std::string error_of(const TrainConfig& config) {
  return error_of([&] { train(config, 2); });
}

// The trace of a process alone, opened as before its first step.
struct Opened {
  explicit Opened(const TrainConfig& config)
      : training(build_training(config, *alone, at::kCPU)), trace(open_trace(files, *training)) {}

  std::unique_ptr<Communicator> alone = make_local_communicator();
  SystemFileOps files;
  std::unique_ptr<Training> training;
  std::unique_ptr<TraceFolder> trace;
};

// What a process does that goes on from `step`, as far as the trace is concerned.
void go_on(const TrainConfig& config, int64_t step) {
  Opened(config).trace->start(step);
}

std::vector<std::string> names_in(const std::string& folder) {
  SystemFileOps files;
  return files.list(folder);
}

std::string file(int64_t steps) {
  return "step-0000000" + std::to_string(steps) + ".safetensors";
}

// Four steps recorded in temp.path("trace").
TrainConfig recorded(const TempFolder& temp) {
  TrainConfig config = small_config();
  config.train.record_routing = temp.path("trace");
  train(config, 1);
  return config;
}

// Changes what the tensor of the one MoE layer in a recorded file is, or what the file says.
using Change = std::function<void(at::Tensor&, std::map<std::string, std::string>&)>;

void alter(const std::string& path, const Change& change) {
  SystemFileOps files;
  const SafetensorsFile before(files, path);
  const std::string name = "layers.1.expert_ids";
  at::Tensor ids = before.read(name);
  auto metadata = before.header().metadata;
  change(ids, metadata);
  replace_safetensors(files, path, ids.defined() ? StateList{{name, ids}} : StateList{}, metadata);
}

// A run that follows the trace there.
TrainConfig replaying(const TempFolder& temp) {
  TrainConfig config = small_config();
  config.train.replay_routing = temp.path("trace");
  return config;
}

}  // namespace

TEST_CASE("Recorded assignments give the same run again, on any number of ranks") {
  const TempFolder temp;
  TrainConfig config = small_config();
  config.train.record_routing = temp.path("trace");
  const Steps recorded = train(config, 2);
  CHECK(std::filesystem::exists(temp.path("trace/step-00000004.safetensors")));

  const TrainConfig other = replaying(temp);
  for (const int ranks : {1, 3}) {
    const Steps replayed = train(other, ranks);
    CHECK(replayed.load == recorded.load);
    for (size_t step = 0; step < recorded.nll.size(); ++step)
      CHECK(replayed.nll[step] == Approx(recorded.nll[step]).epsilon(1e-12));
  }
}

TEST_CASE("A replayed run follows the assignments and not its own router") {
  const TempFolder temp;
  TrainConfig config = small_config();
  config.moe.force = {"one", 0};
  config.train.record_routing = temp.path("trace");
  config.train.recompute = "full";  // each layer decides twice
  train(config, 1);

  TrainConfig other = replaying(temp);
  other.train.record_routing = temp.path("again");
  const std::vector<int64_t> all_to_two = {64, 64, 0, 0, 0, 0, 0, 0};
  for (const auto& load : train(other, 2).load) CHECK(load == all_to_two);
  CHECK(temp.read("again/step-00000003.safetensors") ==
        temp.read("trace/step-00000003.safetensors"));
}

TEST_CASE("Another balancer, router, bias and capacity may follow a trace") {
  const TempFolder temp;
  TrainConfig config = small_config();
  config.train.record_routing = temp.path("trace");
  const Steps first = train(config, 1);

  TrainConfig other = replaying(temp);
  SECTION("balance") {
    other.moe.balance = {{"load_balance", 0.5}};
  }
  SECTION("bias and router") {
    other.moe.router.score = "sigmoid";
    other.moe.bias.type = "sign";
  }
  SECTION("capacity") {
    other.moe.capacity.factor = 1.0;
  }
  CHECK(train(other, 2).load == first.load);
}

TEST_CASE("Assignments of another model are refused, with what differs") {
  const TempFolder temp;
  recorded(temp);
  TrainConfig other = replaying(temp);
  const auto refused = [&](const std::string& what) {
    CHECK_THAT(error_of(other), Catch::Contains("train.replay_routing: " + temp.path("trace/") +
                                                file(1) + " was recorded with " + what));
  };
  SECTION("experts") {
    other.moe.num_experts = 16;
    refused("moe.num_experts: 8, this run has 16");
  }
  SECTION("experts of another kind") {
    other.moe.num_experts = 6;
    other.moe.zero_experts = 2;
    refused("moe.num_experts: 8, this run has 6");
  }
  SECTION("experts of a token") {
    other.moe.top_k = 3;
    refused("moe.top_k: 2, this run has 3");
  }
  SECTION("layers with experts") {
    other.moe.layers.kind = LayerPattern::Kind::kAll;
    refused("MoE layers: 1, this run has 0, 1");
  }
  SECTION("layers") {
    other.model.num_layers = 3;
    other.moe.layers.kind = LayerPattern::Kind::kList;
    other.moe.layers.list = {1};
    refused("model.num_layers: 2, this run has 3");
  }
  SECTION("width") {
    other.model.hidden_dim = 64;
    refused("model.hidden_dim: 32, this run has 64");
  }
  SECTION("vocabulary") {
    other.model.vocab_size = 100;
    refused("model.vocab_size: ");
  }
}

TEST_CASE("Assignments of other tokens are refused, with what differs") {
  const TempFolder temp;
  recorded(temp);
  TrainConfig other = replaying(temp);
  const auto refused = [&](const std::string& what) {
    CHECK_THAT(error_of(other), Catch::Contains(file(1) + " was recorded with " + what));
  };
  SECTION("of another corpus") {
    other.data.seed = 2;
    refused("data: synthetic tagged seed 1 ");
    CHECK_THAT(error_of(other), Catch::Contains(", this run has synthetic tagged seed 2 "));
  }
  SECTION("in another order") {
    other.run.seed = 7;
    refused("run.seed: 1, this run has 7");
  }
  SECTION("of longer steps") {
    other.train.sequences_per_step = 12;
    refused("train.sequences_per_step: 8, this run has 12");
  }
  SECTION("of shorter sequences") {
    other.train.sequence_length = 4;
    refused("train.sequence_length: 8, this run has 4");
  }
}

TEST_CASE("Micro-batches of another size hold other tokens where each has one domain") {
  const TempFolder temp;
  TrainConfig config = small_config();
  config.data.sampler = "single_domain";
  config.train.record_routing = temp.path("trace");
  train(config, 1);

  TrainConfig other = replaying(temp);
  other.data.sampler = "single_domain";
  CHECK(error_of(other) == "");
  other.train.micro_sequences = 2;
  CHECK_THAT(error_of(other),
             Catch::Contains("recorded with train.micro_sequences: 4, this run has 2"));
}

TEST_CASE("Every file of a trace is checked, before the first step and when it is read") {
  const TempFolder temp;
  recorded(temp);
  TrainConfig config = small_config();
  config.run.seed = 2;
  config.train.record_routing = temp.path("other");
  train(config, 1);
  const auto mix_in = [&] {
    std::filesystem::copy_file(temp.path("other/") + file(3), temp.path("trace/") + file(3),
                               std::filesystem::copy_options::overwrite_existing);
  };
  const std::string expected = file(3) + " was recorded with run.seed: 2, this run has 1";

  TrainConfig other = replaying(temp);
  SECTION("a step of another run") {
    mix_in();
    CHECK_THAT(error_of([&] { go_on(other, 0); }), Catch::Contains(expected));
  }
  SECTION("a step that another run has replaced since") {
    const Opened opened(other);
    mix_in();
    opened.trace->begin_step(1);
    CHECK_THAT(error_of([&] { opened.trace->begin_step(2); }), Catch::Contains(expected));
  }
  SECTION("a step that is missing") {
    other.train.steps = 5;
    CHECK_THAT(error_of(other), Catch::Contains(file(5) + " is missing"));
  }
  SECTION("a file that cannot be opened") {
    const auto alone = make_local_communicator();
    const auto training = build_training(other, *alone, at::kCPU);
    SystemFileOps files;
    std::atomic<bool> stopped{false};
    test::FaultyFileOps faulty(files, stopped, test::Fault::kError, 1);
    CHECK_THAT(error_of([&] { open_trace(faulty, *training); }),
               Catch::StartsWith("[config] train.replay_routing: cannot"));
  }
  SECTION("a file that would forge a line of a message") {
    SystemFileOps files;
    const std::string path = temp.path("trace/") + file(2);
    auto metadata = SafetensorsFile(files, path).header().metadata;
    metadata["run.seed"] = "1\nerror: \x1b[31m";
    replace_safetensors(files, path, {}, metadata);
    CHECK_THAT(error_of(other), Catch::Contains("recorded with run.seed: 1\\nerror: "
                                                "\\u001b[31m, this run has 1"));
  }
  SECTION("a damaged file") {
    std::filesystem::resize_file(temp.path("trace/") + file(2), 100);
    CHECK_THAT(error_of(other), Catch::Contains(file(2)));
  }
}

TEST_CASE("A step under another step's name is refused, with both") {
  const TempFolder temp;
  TrainConfig config = recorded(temp);
  const std::string path = temp.path("trace/") + file(4);
  const auto copy = [&] {
    std::filesystem::copy_file(temp.path("trace/") + file(3), path,
                               std::filesystem::copy_options::overwrite_existing);
  };
  const auto says = [&](const std::string& step, const char* option = "train.replay_routing") {
    return Catch::Equals("[config] " + std::string(option) + ": " + path + " holds step " + step +
                         "; allowed: 4");
  };
  TrainConfig other = replaying(temp);
  SECTION("before the first step") {
    copy();
    CHECK_THAT(error_of([&] { Opened{other}; }), says("3"));
  }
  SECTION("when it is read") {
    const Opened opened(other);
    copy();
    CHECK_THAT(error_of([&] { opened.trace->begin_step(3); }), says("3"));
  }
  SECTION("also where a run goes on recording") {
    copy();
    CHECK_THAT(error_of([&] { go_on(config, 2); }), says("3", "train.record_routing"));
    CHECK(names_in(temp.path("trace")).size() == 4);
  }
  SECTION("a file that says none") {
    alter(path, [](at::Tensor&, auto& metadata) { metadata.erase("step"); });
    CHECK_THAT(error_of([&] { Opened{other}; }), says("none"));
  }
}

TEST_CASE("Decisions that no run can follow are refused before the first step, with their place") {
  const TempFolder temp;
  recorded(temp);
  const std::string path = temp.path("trace/") + file(4);
  const TrainConfig other = replaying(temp);
  const auto refused = [&](const Change& change, const std::string& what) {
    const std::string expected =
        "[config] train.replay_routing: " + path + ": tensor `layers.1.expert_ids` " + what;
    const std::string whole = temp.read("trace/" + file(4));
    const Opened opened(other);
    alter(path, change);
    CHECK_THAT(error_of([&] { Opened{other}; }), Catch::Equals(expected));
    CHECK_THAT(error_of([&] { opened.trace->begin_step(3); }), Catch::Equals(expected));
    temp.write("trace/" + file(4), whole);
  };
  const auto row = [](int64_t place, const std::vector<int32_t>& experts) -> Change {
    return [=](at::Tensor& ids, auto&) { ids[place] = at::tensor(experts, at::kInt); };
  };
  refused(row(5, {1, 8}), "holds 8 at [5, 1]; allowed: -1 (none) to 7");
  refused(row(63, {-2, 1}), "holds -2 at [63, 0]; allowed: -1 (none) to 7");
  refused(row(0, {3, 3}), "holds 3 at [0, 0] and [0, 1]; allowed: an expert once in a row");
  refused([](at::Tensor& ids, auto&) { ids = ids.to(at::kLong); },
          "is I64 [64, 2]; allowed: I32 [64, 2]");
  refused([](at::Tensor& ids, auto&) { ids = ids.narrow(0, 0, 63).contiguous(); },
          "is I32 [63, 2]; allowed: I32 [64, 2]");
  refused([](at::Tensor& ids, auto&) { ids = ids.flatten(); },
          "is I32 [128]; allowed: I32 [64, 2]");
  refused([](at::Tensor& ids, auto&) { ids = at::Tensor(); }, "is missing; allowed: I32 [64, 2]");

  alter(path, row(9, {-1, -1}));  // a token without experts
  CHECK(error_of(other) == "");
}

TEST_CASE("A check of the folders finds what a start would, and writes nothing") {
  const TempFolder temp;
  TrainConfig config = recorded(temp);
  const auto alone = make_local_communicator();
  SystemFileOps files;
  const auto check = [&](const TrainConfig& now, int64_t step) {
    const auto training = build_training(now, *alone, at::kCPU);
    return error_of([&] {
      check_trace_folder(files, *alone, training->config, training->source->fingerprint(), step);
    });
  };
  CHECK_THAT(check(config, 0), Catch::Contains("holds 4 recorded steps already"));
  CHECK(check(config, 2) == "");
  CHECK(names_in(temp.path("trace")).size() == 4);
  CHECK(check(config, 4) == "");  // it has ended, and records no more

  TrainConfig other = replaying(temp);
  other.train.record_routing = temp.path("again");
  CHECK(check(other, 0) == "");
  CHECK_FALSE(std::filesystem::exists(temp.path("again")));
  other.moe.top_k = 3;
  CHECK_THAT(check(other, 0), Catch::Contains("moe.top_k: 2, this run has 3"));

  config.run.resume = "never";
  CHECK_THAT(check(config, 0), Catch::Contains("holds 4 recorded steps already"));
  config.run.dir = temp.path();  // where the folder goes aside
  CHECK(check(config, 0) == "");
}

TEST_CASE("A run that starts records into no folder that holds steps") {
  const TempFolder temp;
  TrainConfig config = recorded(temp);
  const std::string before = temp.read("trace/" + file(2));
  config.train.steps = 2;
  CHECK_THAT(error_of(config), Catch::Contains("train.record_routing: " + temp.path("trace") +
                                               " holds 4 recorded steps already"));
  CHECK(names_in(temp.path("trace")).size() == 4);
  CHECK(temp.read("trace/" + file(2)) == before);

  SECTION("which a run that never resumes learns before it sets its folder aside") {
    config.run.dir = temp.path("run");
    config.run.resume = "never";
    const auto open = [&] { Opened{config}; };
    CHECK_THAT(error_of(open), Catch::Contains("holds 4 recorded steps already"));
    config.run.dir = temp.path();
    CHECK(error_of(open) == "");  // it lies in the run folder, and goes aside with it
  }
  SECTION("other files do not matter") {
    temp.write("mixed/step-1.safetensors", "x");
    temp.write("mixed/notes.txt", "x");
    config.train.record_routing = temp.path("mixed");
    CHECK(error_of(config) == "");
  }
}

TEST_CASE("A run that goes on removes the steps that it recorded beyond its checkpoint") {
  const TempFolder temp;
  TrainConfig config = recorded(temp);
  go_on(config, 2);
  CHECK(names_in(temp.path("trace")) == std::vector<std::string>{file(1), file(2)});
}

TEST_CASE("A run that goes on removes no step of another run") {
  const TempFolder temp;
  TrainConfig config = recorded(temp);
  const auto refused = [&](const std::string& what) {
    CHECK_THAT(error_of([&] { go_on(config, 2); }),
               Catch::Contains("train.record_routing: " + temp.path("trace/") + file(1) +
                               " was recorded with " + what));
    CHECK(names_in(temp.path("trace")).size() == 4);
  };
  SECTION("of another folder") {
    config.run.dir = temp.path("elsewhere");
    refused("run.dir: ");
  }
  SECTION("of another seed") {
    config.run.seed = 5;
    refused("run.seed: 1, this run has 5");
  }
}

TEST_CASE("Folders of a trace that cannot serve are refused") {
  const TempFolder temp;
  recorded(temp);
  TrainConfig config = replaying(temp);
  SECTION("recording into the folder that is replayed") {
    config.train.record_routing = temp.path("trace/");
    CHECK_THAT(error_of(config), Catch::Contains("is the folder of train.replay_routing, too"));
  }
  SECTION("replaying what run.resume: never is about to set aside") {
    config.run.dir = temp.path();
    config.run.resume = "never";
    CHECK_THAT(error_of(config), Catch::Contains("lies in the run folder"));
  }
  SECTION("recording where no folder can be made") {
    config.train.record_routing = temp.write("file", "x") + "/trace";
    CHECK_THAT(error_of(config), Catch::StartsWith("[config] train.record_routing: cannot make"));
  }
}
