#include "core/base/error.h"

namespace switchyard {

std::string Error::without_area() const {
  const std::string text = what();
  const size_t end = text.starts_with('[') ? text.find("] ") : std::string::npos;
  return end == std::string::npos ? text : text.substr(end + 2);
}

void fail_check(const char* condition, const char* file, int line, const std::string& text) {
  std::string name(file);
  const auto slash = name.find_last_of('/');
  if (slash != std::string::npos) name = name.substr(slash + 1);
  throw InternalError(fmt::format("{}:{}: {} does not hold{}{}", name, line, condition,
                                  text.empty() ? "" : ": ", text));
}

}  // namespace switchyard
