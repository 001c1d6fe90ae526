#pragma once

#include <string>

namespace switchyard {

class Fields;

/// `moe.bias`: balancing without a loss.
struct BiasOptions {
  std::string type = "none";  ///< none | sign
  double rate = 0.001;        ///< step u of each update
};

void describe(Fields& fields, BiasOptions& options);

}  // namespace switchyard
