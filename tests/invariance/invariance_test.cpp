#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <iostream>

#include "parallel/mesh/mesh.h"
#include "tests/invariance/layouts.h"
#include "tests/support/largest.h"
#include "tests/support/paths.h"
#include "tests/support/source_tree.h"

// One coefficient means one pressure: the matrix of docs/balancing.md, measured.

using namespace switchyard;
using namespace switchyard::invariance;
using test::Largest;

namespace {

constexpr double kBound = 1e-12;
const std::vector<std::string> kColumns = {"ranks 1 to 4, every expert axis",
                                           "ranks without tokens",
                                           "1, 2, 4 micro-batches",
                                           "recomputation",
                                           "experts permuted",
                                           "off its value at balance"};

// A gradient of 0 is the same everywhere and would show nothing.
double apart_with_gradient(const Outcome& a, const Outcome& b) {
  REQUIRE(largest_gradient(a) > 0);
  return apart(a, b);
}

double worst_of_ranks(const Row& row, int64_t sequences) {
  const Outcome one = run_step(row, {1, 1, sequences, 1});
  Largest worst;
  for (int ranks = 1; ranks <= 4; ++ranks)
    for (const int axis : expert_sizes(ranks))
      worst.see(apart_with_gradient(one, run_step(row, {ranks, axis, sequences, 1})));
  return worst.value();
}

double worst_of_accumulation(const Row& row) {
  const Outcome one = run_step(row, {1, 1, 8, 1});
  Largest worst;
  for (const int64_t micro_batches : {2, 4})
    for (const int ranks : {1, 2})
      worst.see(apart_with_gradient(one, run_step(row, {ranks, 1, 8, micro_batches})));
  return worst.value();
}

double worst_at_balance(const Row& row) {
  Largest worst;
  for (const int64_t experts : {4, 8, 60, 64})
    for (const int64_t top_k : {1, 2, 6, 8})
      for (const int64_t layers : {1, 3})
        for (const int64_t length : {1, 3})
          if (top_k <= experts)
            worst.see(run_balanced(row, experts, top_k, layers, length) -
                      balanced_value(row, experts));
  return worst.value();
}

std::string cell(double difference) {
  return difference == 0 ? "0" : fmt::format("{:.0e}", difference);
}

constexpr size_t kAccumulation = 2;  // the one column where words may stand
constexpr const char* kRunning = "load_balance, step, f: running";

// What a cell says after its number, or instead of one.
std::string words_of(const Row& row, size_t column) {
  if (column != kAccumulation || row.accumulates) return "";
  return row.name == kRunning ? ": f grows over the step" : "defined per micro-batch";
}

std::string table_row(const Row& row, const std::vector<std::string>& cells) {
  return fmt::format("| {} | {} |\n", row.name, fmt::join(cells, " | "));
}

std::string table_header() {
  return fmt::format("| term | {} |\n|---|---|---|---|---|---|---|\n", fmt::join(kColumns, " | "));
}

// The row's cells; checks what is promised, and adds it to `all`.
std::vector<std::string> measure(const Row& row, Largest& all) {
  CAPTURE(row.name);
  std::vector<std::string> cells;
  const auto promised = [&](double difference) {
    CHECK(difference <= kBound);
    all.see(difference);
    cells.push_back(cell(difference));
  };
  promised(worst_of_ranks(row, 5));
  promised(worst_of_ranks(row, 2));
  if (row.accumulates) {
    promised(worst_of_accumulation(row));
  } else if (row.name == kRunning) {
    const double difference = worst_of_accumulation(row);
    CHECK(difference > 1e-6);  // f grows over the step: what `f: exact` is for
    CHECK(std::isfinite(difference));
    cells.push_back(cell(difference) + words_of(row, kAccumulation));
  } else {
    cells.push_back(words_of(row, kAccumulation));
  }
  promised(apart_with_gradient(run_transformer(row, false), run_transformer(row, true)));
  promised(apart_with_gradient(run_permuted(row, {0, 1, 2, 3, 4, 5, 6, 7}),
                               run_permuted(row, {6, 7, 5, 4, 1, 0, 3, 2})));
  promised(worst_at_balance(row));
  return cells;
}

// The lines between the marks of the matrix in docs/balancing.md.
std::vector<std::string> documented_matrix() {
  const std::filesystem::path root(test::source_path());
  std::vector<std::string> lines;
  bool inside = false;
  for (const auto& line : style::read_file(root, root / "docs/balancing.md").lines) {
    if (line == "<!-- invariance:end -->") inside = false;
    if (inside) lines.push_back(line);
    if (line == "<!-- invariance:begin -->") inside = true;
  }
  return lines;
}

std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells;
  const std::string between = " | ";
  for (size_t start = 2; start < line.size();) {
    const size_t end = std::min(line.find(between, start), line.size() - 2);
    cells.push_back(line.substr(start, end - start));
    start = end + between.size();
  }
  return cells;
}

}  // namespace

TEST_CASE("invariance: one coefficient means one pressure") {
  std::string table = table_header();
  Largest all;
  for (const Row& row : rows()) table += table_row(row, measure(row, all));
  std::cout << table;
  all.print("invariance: the promised cells");
}

TEST_CASE(
    "invariance: docs/balancing.md shows the matrix: its rows, its words, no number too large") {
  const std::vector<std::string> lines = documented_matrix();
  REQUIRE(lines.size() == rows().size() + 2);
  CHECK(lines[0] + "\n" + lines[1] + "\n" == table_header());
  for (size_t i = 0; i < rows().size(); ++i) {
    const Row row = rows()[i];
    CAPTURE(lines[i + 2]);
    const auto cells = cells_of(lines[i + 2]);
    REQUIRE(cells.size() == kColumns.size() + 1);
    CHECK(cells[0] == row.name);
    for (size_t column = 0; column < kColumns.size(); ++column) {
      const std::string& text = cells[column + 1];
      const size_t number = std::min(text.find_first_not_of("0123456789.e+-"), text.size());
      CHECK(text.substr(number) == words_of(row, column));
      if (words_of(row, column).empty()) CHECK(std::stod(text) <= kBound);
    }
  }
}

TEST_CASE("traps: coefficient invariance over K, E, layers and ranks") {
  // The same value for 1 and 3 layers, any E and K; value and gradient for 1 and 3 ranks.
  const Row row = load_balance("step", "step", false);
  Largest worst;
  worst.see(worst_at_balance(row));
  worst.see(apart_with_gradient(run_step(row, {1, 1, 5, 1}), run_step(row, {3, 3, 5, 1})));
  CHECK(worst.value() <= kBound);
  worst.print("traps: a coefficient over K, E, layers and ranks");
}

TEST_CASE("traps: a term inside a recomputed block is counted once") {
  const Row row = rows().front();
  const Outcome once = run_transformer(row, false), again = run_transformer(row, true);
  CHECK(once.value == again.value);
  Largest worst;
  worst.see(apart_with_gradient(once, again));
  CHECK(worst.value() <= kBound);
  worst.print("traps: a term inside a recomputed block");
}
