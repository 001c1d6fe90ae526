#include "core/base/error.h"

namespace switchyard {

void fail_check(const char* condition, const char* file, int line, const std::string& text) {
  std::string name(file);
  const auto slash = name.find_last_of('/');
  if (slash != std::string::npos) name = name.substr(slash + 1);
  throw InternalError(fmt::format("{}:{}: {} does not hold{}{}", name, line, condition,
                                  text.empty() ? "" : ": ", text));
}

}  // namespace switchyard
