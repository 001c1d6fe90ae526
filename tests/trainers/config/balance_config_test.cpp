#include <catch2/catch.hpp>

#include "core/moe/options/coefficient_sources.h"
#include "tests/trainers/config/config_file.h"
#include "trainers/config/config_commands.h"

using namespace switchyard;
using namespace switchyard::config_test;
using Catch::Matchers::Contains;

namespace {

std::string with_term(const std::string& term) {
  return "moe: {num_experts: 8, top_k: 2, balance: [" + term + "]}\n";
}

double coef_of(const std::string& term) {
  return config_of(with_term(term)).moe.balance.at(0).coef.at(0);
}

}  // namespace

TEST_CASE("a coefficient may change by step") {
  const auto coef = config_of(with_term("{coef: {0: 0.1, 100: 0.01}}")).moe.balance.at(0).coef;
  CHECK(coef.at(99) == 0.1);
  CHECK(coef.at(100) == 0.01);
  CHECK_THAT(problem(with_term("{coef: {0: 0.1, 100: -1}}")), Contains("allowed: number ≥ 0"));
  CHECK(coef_of("{type: token_entropy, coef: -0.1}") == -0.1);
}

TEST_CASE("device and communication need groups") {
  CHECK(config_of(with_term("{type: device, groups: 4}")).moe.balance[0].groups == 4);
  CHECK_FALSE(config_of(with_term("{type: device, groups: ranks}")).moe.balance[0].groups);
  CHECK_THAT(problem(with_term("{type: communication}")),
             Contains("moe.balance.0.type: communication needs groups; allowed: groups: integer"));
  CHECK_THAT(problem(with_term("{type: device, groups: 9}")),
             Contains("moe.balance.0.groups: 9 does not divide moe.num_experts: 8"));
  CHECK_THAT(problem(with_term("{type: z, groups: 2}")), Contains("groups: belongs to type"));
}

TEST_CASE("groups: ranks is noted as dependent on ranks") {
  const ConfigFile file(with_term("{type: device, groups: ranks}"));
  const auto notes = file.load().notes;
  REQUIRE(notes.size() == 1);
  CHECK_THAT(notes[0], Contains("moe.balance.0.groups: ranks makes the term depend on"));
}

TEST_CASE("a term that the router has no numbers for is refused, with the routers that have them") {
  CHECK_THAT(problem(with_term("{type: load}")),
             Contains("moe.balance.0.type: load needs the chance of being selected, which "
                      "moe.router.type: top_k does not have; routers that do: noisy_top_k"));
}

TEST_CASE("from turns another system's coefficient into ours") {
  // Four MoE layers, E = 8, K = 2.
  CHECK(coef_of("{coef: 0.01, from: megatron, scope: micro_batch}") == Approx(0.04));
  CHECK(coef_of("{coef: 0.01, from: deepspeed}") == Approx(0.04));
  CHECK(coef_of("{coef: 0.01, from: hf}") == Approx(0.02));
  CHECK(coef_of("{coef: 0.01, from: maxtext}") == Approx(0.02));
  CHECK(coef_of("{coef: 0.01, from: olmo}") == Approx(0.01));
  CHECK(coef_of("{coef: 0.1, from: megablocks}") == Approx(0.1));
  CHECK(coef_of("{coef: 0.01, from: switch}") == Approx(0.04));
  CHECK(coef_of("{type: gshard, coef: 0.64, from: gshard}") == Approx(0.64 * 4 / 64));
  CHECK(coef_of("{type: z, coef: 0.001, from: megatron}") == Approx(0.004));
  CHECK(coef_of("{type: z, coef: 0.001, from: olmo}") == Approx(0.001));
  CHECK(coef_of("{type: device, groups: 4, coef: 0.05, from: deepseek}") == Approx(0.2));
}

TEST_CASE("from converts every value of a schedule") {
  const auto coef =
      config_of(with_term("{coef: {0: 0.1, 9: 0.01}, from: megatron}")).moe.balance.at(0).coef;
  CHECK(coef.at(0) == Approx(0.4));
  CHECK(coef.at(9) == Approx(0.04));
}

TEST_CASE("from is refused where nothing of ours knows the scale, or the system has no such term") {
  CHECK_THAT(problem(with_term("{from: fastmoe}")),
             Contains("moe.balance.0.from: fastmoe cannot be converted: its scale is the square"));
  CHECK_THAT(problem(with_term("{type: z, from: deepspeed}")),
             Contains("deepspeed has no term z; systems that have one: megatron"));
  CHECK_THAT(problem(with_term("{from: megatrn}")), Contains("did you mean `megatron`?"));
}

TEST_CASE("config show prints our coefficient, with theirs beside it, and reads back the same") {
  const ConfigFile file(with_term("{coef: 0.01, from: megatron}"));
  const LoadedConfig loaded = file.load();
  const std::string shown = config_show_text(loaded);
  CHECK_THAT(shown, Contains("coef: 0.04 "));
  CHECK_THAT(shown, Contains("`0.01` of megatron × L"));
  CHECK_THAT(loaded.notes.at(0), Contains("moe.balance.0.coef: `0.01` of megatron × L is `0.04`"));

  const ConfigFile again(shown);
  CHECK(again.load().config.moe.balance[0].coef.at(0) == loaded.config.moe.balance[0].coef.at(0));
  for (const std::string& note : again.load().notes) CHECK_THAT(note, !Contains("megatron"));
}

TEST_CASE("a coefficient that fp32 cannot hold is refused, as written and as converted") {
  const std::string beyond = "beyond ±3.4028235e+38, the largest number of fp32";
  CHECK_THAT(problem(with_term("{coef: 1e308, from: deepspeed}")),
             Contains("`1e308` is " + beyond));
  CHECK_THAT(problem(with_term("{coef: {0: 1, 5: 1e300}}")), Contains("`1e300` is " + beyond));
  CHECK_THAT(
      problem(with_term("{coef: 1e38, from: deepspeed}")),
      Contains("small.yaml:1:50: moe.balance.0.coef: 1e+38 of deepspeed × L is 4e+38 here, " +
               beyond));
  CHECK_THAT(problem(with_term("{coef: {0: 1, 5: 1e38}, from: deepspeed}")),
             Contains("moe.balance.0.coef: 1e+38 of deepspeed × L is 4e+38 here"));
  CHECK(coef_of("{coef: 8e37, from: deepspeed}") == 3.2e38);
}
