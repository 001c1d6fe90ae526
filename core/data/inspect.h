#pragma once

#include <string>

#include "core/data/options.h"
#include "core/data/token_source.h"

namespace switchyard {

/// What `switchyard data inspect` prints: kind, vocabulary and, for each domain, files, tokens,
/// sequences and the validation share, then the start of each domain's first validation sequence
/// (training sequence where nothing is kept for validation). Throws what make_token_source()
/// throws.
std::string inspect_data(const DataOptions& options, const SourceContext& context);

}  // namespace switchyard
