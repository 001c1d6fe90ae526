#include "core/metrics/console_sink.h"

#include <catch2/catch.hpp>
#include <sstream>

#include "core/base/error.h"

namespace switchyard {
namespace {

StepReport step_120() {
  StepReport r;
  r.step = 120, r.total_steps = 1000;
  r.wall_s = 34.3636;
  r.loss = 2.813, r.nll = 2.801, r.aux_loss = 0.012;
  r.lr = 3e-4, r.grad_norm = 0.28;
  r.tokens_per_s = 69400;
  r.memory_bytes = 1.2 * (1 << 30);
  r.moe = {{"max_vio", {0.10, 0.06}},
           {"max_vio_floor", {0.02, 0.02}},
           {"drop_rate", {0, 0}},
           {"dead_experts", {0, 0}}};
  return r;
}

constexpr const char* kLine =
    "step 120/1000 12% | loss 2.813 (nll 2.801 aux .012) | lr 3.0e-04 | gnorm 0.28 | 69.4k tok/s | "
    "vio 0.08 floor 0.02 drop 0.0% dead 0 | mem 1.2G | eta 4m12s";

}  // namespace

TEST_CASE("a step's line is as documented", "[console]") {
  StepReport report = step_120();
  CHECK(console_line(report) == kLine);

  SECTION("dead experts add up over layers, drops are shown in percent") {
    report.moe["dead_experts"] = {1, 2};
    report.moe["drop_rate"] = {0.01, 0.04};
    CHECK_THAT(console_line(report), Catch::Contains("drop 2.5% dead 3"));
  }
  SECTION("a dense model has no balance to show") {
    report.moe.clear();
    CHECK_THAT(console_line(report), Catch::Contains("69.4k tok/s | mem 1.2G"));
  }
  SECTION("a skipped update is said") {
    report.skipped = true;
    CHECK_THAT(console_line(report), Catch::EndsWith("| update skipped"));
  }
  SECTION("small and large figures") {
    report.tokens_per_s = 812;
    report.memory_bytes = 356 * double(1 << 20);
    report.wall_s = 600;
    CHECK_THAT(console_line(report),
               Catch::Contains("| 812 tok/s |") && Catch::Contains("mem 356M | eta 1h13m"));
    report.tokens_per_s = 1.25e6;
    report.step = 1000;
    CHECK_THAT(console_line(report), Catch::Contains("1000/1000 100%") &&
                                         Catch::Contains("1.2M tok/s") &&
                                         Catch::Contains("eta 0s"));
  }
}

TEST_CASE("piped output is plain lines", "[console]") {
  std::ostringstream out;
  {
    ConsoleSink sink(out, false);
    sink.progress(119, 1000);
    sink.on_step(step_120());
    EvalReport eval;
    eval.step = 120, eval.total_steps = 1000;
    eval.nll = 1.25, eval.excess_loss = 0.037, eval.tokens = 8128;
    eval.moe = {{"max_vio_global", {0.5}}, {"domain_mi", {1.5}}};
    sink.on_eval(eval);
    Summary summary;
    summary.steps = 1000;
    summary.state_hash = "abc";
    sink.on_finish(summary);
  }
  CHECK(out.str() == std::string(kLine) +
                         "\neval 120/1000 | nll 1.2500 ppl 3.49 | excess 0.0370 | vio 0.50 "
                         "domain_mi 1.50 | 8.1k tokens\n"
                         "done 1000 steps, 0 tokens | train nll 0.0000 | 0 tok/s | mem 0M | state "
                         "abc\n");
}

TEST_CASE("a terminal has a bar below the lines, gone at the end", "[console]") {
  std::ostringstream out;
  ConsoleSink sink(out, true);
  const auto written = [&] {
    const std::string text = out.str();
    out.str("");
    return text;
  };
  sink.progress(119, 1000);
  CHECK(written() == "[===                           ] 119/1000");
  sink.on_step(step_120());
  const std::string step = written();
  CHECK_THAT(step, Catch::StartsWith(std::string("\r\x1b[K") + kLine + "\n"));
  CHECK_THAT(step, Catch::EndsWith("120/1000"));
  sink.on_finish(Summary{});
  const std::string end = written();
  CHECK_THAT(end, Catch::StartsWith("\r\x1b[Kdone 0 steps"));
  CHECK_THAT(end, Catch::EndsWith("\n"));
}

TEST_CASE("a closed output is an error", "[console]") {
  std::ostringstream out;
  out.setstate(std::ios::badbit);
  ConsoleSink sink(out, false);
  CHECK_THROWS_AS(sink.on_step(step_120()), IoError);
}

}  // namespace switchyard
