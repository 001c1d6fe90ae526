#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace switchyard {

/// The numbers of a model that other systems leave in their balance losses.
struct CoefficientShape {
  int64_t num_layers = 1;  ///< MoE layers
  int64_t num_experts = 1;
  int64_t top_k = 1;
};

/// Systems whose coefficients `from` reads, "switchyard" first. docs/balancing.md has the table.
std::vector<std::string> coefficient_sources();

/// What to multiply a coefficient of `source` with, so that ours pushes as hard at perfect balance.
struct CoefficientFactor {
  double factor = 1;
  std::string formula;       ///< "L", "K", "L / E^2"
  bool has_experts = false;  ///< E occurs in it
};
/// Throws ConfigError, beginning with `path`, where the system has no such term, or its scale is
/// not a function of the model.
CoefficientFactor coefficient_factor(const std::string& source, const std::string& type,
                                     const CoefficientShape& shape, const std::string& path);

/// One line per row of the table: source, term, formula, why. Markdown.
std::string coefficient_table();

}  // namespace switchyard
