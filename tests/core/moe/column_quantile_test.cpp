#include "core/moe/column_quantile.h"

#include <catch2/catch.hpp>

using namespace switchyard;

TEST_CASE("The k-th largest of a column is that of its sorted values") {
  for (const auto dtype : {torch::kFloat, torch::kDouble}) {
    torch::manual_seed(3);
    const auto x = torch::cat({torch::randn({40, 3}, dtype), torch::zeros({5, 3}, dtype),
                               torch::randn({9, 3}, dtype) * 1e-30, torch::ones({3, 3}, dtype)});
    const auto sorted = std::get<0>(torch::sort(x, 0, /*descending=*/true));
    for (int64_t k = 1; k <= x.size(0); ++k) {
      CAPTURE(k);
      CHECK(column_kth_largest({x.slice(0, 0, 7), x.slice(0, 7, 7), x.slice(0, 7)}, k, nullptr)
                .equal(sorted[k - 1]));
    }
  }
}
