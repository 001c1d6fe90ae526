#include "trainers/run/run_end.h"

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

namespace switchyard {
namespace {

using Json = nlohmann::json;

Json parsed(const std::string& text) {
  return Json::parse(text, nullptr, /*allow_exceptions=*/false);
}

bool holds(const Json& object, const char* key, const Json& value) {
  return object.contains(key) && object[key] == value;
}

double number(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : LastStep::kUnknown;
}

double mean(const Json& list) {
  double sum = 0;
  for (const Json& value : list)
    sum += value.is_number() ? value.get<double>() : LastStep::kUnknown;
  return sum / static_cast<double>(list.size());
}

double drop_rate(const Json& line) {
  const auto moe = line.find("moe");
  if (moe == line.end() || !moe->is_object()) return LastStep::kUnknown;
  const auto rates = moe->find("drop_rate");
  if (rates == moe->end()) return 0;
  return rates->is_array() && !rates->empty() ? mean(*rates) : LastStep::kUnknown;
}

}  // namespace

std::string final_summary(const std::string& path, const RunEnd& end) {
  std::ifstream file(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(file), {});
  const Json summary = parsed(text);
  const bool is_final =
      summary.is_object() && holds(summary, "steps", end.step) &&
      holds(summary, "state_hash", end.state_hash) &&
      (!end.evaluated || (summary.contains("val_nll") && !summary["val_nll"].is_null()));
  return is_final ? text : "";
}

LastStep logged_step(const std::string& path, int64_t step) {
  LastStep last;
  std::ifstream file(path, std::ios::binary);
  for (std::string text; std::getline(file, text);) {
    const Json line = parsed(text);
    if (!line.is_object() || line.contains("event") || !holds(line, "step", step)) continue;
    last = {number(line, "nll"), drop_rate(line), number(line, "tokens_per_s")};
  }
  return last;
}

}  // namespace switchyard
