#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <iostream>

#include "parallel/mesh/mesh.h"
#include "tests/invariance/layouts.h"
#include "tests/support/source_tree.h"

// One coefficient means one pressure: the matrix of docs/balancing.md, measured.

using namespace switchyard;
using namespace switchyard::invariance;

namespace {

constexpr double kBound = 1e-12;
const std::vector<std::string> kColumns = {"ranks 1 to 4, every expert axis",
                                           "ranks without tokens",
                                           "1, 2, 4 micro-batches",
                                           "recomputation",
                                           "experts permuted",
                                           "off its value at balance"};

double worst_of_ranks(const Row& row, int64_t sequences) {
  const Outcome one = run_step(row, {1, 1, sequences, 1});
  REQUIRE(one.grad.abs().max().item<double>() > 0);
  double worst = 0;
  for (int ranks = 1; ranks <= 4; ++ranks)
    for (const int axis : expert_sizes(ranks))
      worst = std::max(worst, apart(one, run_step(row, {ranks, axis, sequences, 1})));
  return worst;
}

double worst_of_accumulation(const Row& row) {
  const Outcome one = run_step(row, {1, 1, 8, 1});
  double worst = 0;
  for (const int64_t micro_batches : {2, 4})
    for (const int ranks : {1, 2})
      worst = std::max(worst, apart(one, run_step(row, {ranks, 1, 8, micro_batches})));
  return worst;
}

double worst_at_balance(const Row& row) {
  double worst = 0;
  for (const int64_t experts : {4, 8, 60, 64})
    for (const int64_t top_k : {1, 2, 6, 8})
      for (const int64_t layers : {1, 3})
        for (const int64_t length : {1, 3})
          if (top_k <= experts)
            worst = std::max(worst, std::abs(run_balanced(row, experts, top_k, layers, length) -
                                             balanced_value(row, experts)));
  return worst;
}

std::string cell(double difference) {
  return difference == 0 ? "0" : fmt::format("{:.0e}", difference);
}

std::string table_row(const Row& row, const std::vector<std::string>& cells) {
  return fmt::format("| {} | {} |\n", row.name, fmt::join(cells, " | "));
}

// The row's cells; checks what is promised.
std::vector<std::string> measure(const Row& row) {
  CAPTURE(row.name);
  std::vector<std::string> cells;
  const auto promised = [&](double difference) {
    CHECK(difference <= kBound);
    cells.push_back(cell(difference));
  };
  promised(worst_of_ranks(row, 5));
  promised(worst_of_ranks(row, 2));
  if (row.accumulates) {
    promised(worst_of_accumulation(row));
  } else if (row.name == "load_balance, step, f: running") {
    const double difference = worst_of_accumulation(row);
    CHECK(difference > 1e-6);  // f grows over the step: what `f: exact` is for
    cells.push_back(cell(difference) + ": f grows over the step");
  } else {
    cells.emplace_back("defined per micro-batch");
  }
  promised(apart(run_transformer(row, false), run_transformer(row, true)));
  promised(apart(run_permuted(row, {0, 1, 2, 3, 4, 5, 6, 7}),
                 run_permuted(row, {6, 7, 5, 4, 1, 0, 3, 2})));
  promised(worst_at_balance(row));
  return cells;
}

}  // namespace

TEST_CASE("invariance: one coefficient means one pressure") {
  std::string table = fmt::format("| term | {} |\n|{}\n", fmt::join(kColumns, " | "),
                                  "---|---|---|---|---|---|---|");
  for (const Row& row : rows()) table += table_row(row, measure(row));
  std::cout << table;
}

TEST_CASE("invariance: docs/balancing.md shows every row of the matrix") {
  const std::filesystem::path root(SWITCHYARD_SOURCE_DIR);
  std::string page;
  for (const auto& line : style::read_file(root, root / "docs/balancing.md").lines)
    page += line + "\n";
  for (const Row& row : rows()) CHECK_THAT(page, Catch::Contains("\n| " + row.name + " | "));
}

TEST_CASE("traps: coefficient invariance over K, E, layers and ranks") {
  // The same value for 1 and 3 layers, any E and K; value and gradient for 1 and 3 ranks.
  const Row row = load_balance("step", "step", false);
  CHECK(worst_at_balance(row) <= kBound);
  CHECK(apart(run_step(row, {1, 1, 5, 1}), run_step(row, {3, 3, 5, 1})) <= kBound);
}

TEST_CASE("traps: a term inside a recomputed block is counted once") {
  const Row row = rows().front();
  const Outcome once = run_transformer(row, false), again = run_transformer(row, true);
  CHECK(once.value == again.value);
  CHECK(once.grad.abs().max().item<double>() > 0);
  CHECK(apart(once, again) <= kBound);
}
