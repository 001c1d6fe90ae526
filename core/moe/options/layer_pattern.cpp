#include "core/moe/options/layer_pattern.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/config/nearest.h"
#include "core/moe/options/read_count.h"

namespace switchyard {
namespace {

LayerPattern read_layer_map(const Value& value) {
  LayerPattern pattern;
  const Value* every = value.find("every");
  const Value* offset = value.find("offset");
  const Value* first_dense = value.find("first_dense");
  for (const auto& [key, child] : value.map)
    if (key != "every" && key != "offset" && key != "first_dense")
      child.fail_key("unknown key" + suggestion(key, {"every", "offset", "first_dense"}));
  if (first_dense && value.map.size() == 1) {
    pattern.kind = LayerPattern::Kind::kFirstDense;
    pattern.first_dense = read_count(*first_dense, 0);
    return pattern;
  }
  if (!every || first_dense)
    value.fail(fmt::format("{} is not a pattern; allowed: {}", value.shown(), kLayerForms));
  pattern.kind = LayerPattern::Kind::kEvery;
  pattern.every = read_count(*every, 1);
  pattern.offset = offset ? read_count(*offset, 0) : 0;
  if (pattern.offset >= pattern.every)
    offset->fail(fmt::format("{} is not below every: {}", pattern.offset, pattern.every));
  return pattern;
}

LayerPattern read_layer_list(const Value& value) {
  LayerPattern pattern;
  pattern.kind = LayerPattern::Kind::kList;
  if (value.items.empty()) value.fail("the list is empty; write none for a dense model");
  for (const Value& item : value.items) {
    const int64_t layer = read_count(item, 0);
    if (pattern.contains(layer)) item.fail(fmt::format("layer {} is listed twice", layer));
    pattern.list.push_back(layer);
  }
  return pattern;
}

}  // namespace

const char* const kLayerForms =
    "all | none | {every: n, offset: m} | {first_dense: n} | [layer, ...]";

bool LayerPattern::contains(int64_t layer) const {
  switch (kind) {
    case Kind::kAll:
      return true;
    case Kind::kNone:
      return false;
    case Kind::kEvery:
      return layer % every == offset;
    case Kind::kFirstDense:
      return layer >= first_dense;
    case Kind::kList:
      return std::find(list.begin(), list.end(), layer) != list.end();
  }
  return false;
}

int64_t LayerPattern::count_before(int64_t layer) const {
  int64_t count = 0;
  for (int64_t i = 0; i < layer; ++i) count += contains(i);
  return count;
}

void read_layers(const Value& value, LayerPattern& pattern) {
  if (value.is_map()) {
    pattern = read_layer_map(value);
  } else if (value.is_list()) {
    pattern = read_layer_list(value);
  } else if (value.scalar == "all" || value.scalar == "none") {
    pattern = LayerPattern{};
    if (value.scalar == "none") pattern.kind = LayerPattern::Kind::kNone;
  } else {
    value.fail(fmt::format("{} is not a layer pattern; allowed: {}", value.shown(), kLayerForms));
  }
}

Value print_layers(const LayerPattern& pattern) {
  switch (pattern.kind) {
    case LayerPattern::Kind::kAll:
      return Value::of_word("all");
    case LayerPattern::Kind::kNone:
      return Value::of_word("none");
    case LayerPattern::Kind::kEvery:
      return Value::of_map({{"every", Value::of_integer(pattern.every)},
                            {"offset", Value::of_integer(pattern.offset)}});
    case LayerPattern::Kind::kFirstDense:
      return Value::of_map({{"first_dense", Value::of_integer(pattern.first_dense)}});
    case LayerPattern::Kind::kList:
      break;
  }
  std::vector<Value> items;
  for (const int64_t layer : pattern.list) items.push_back(Value::of_integer(layer));
  return Value::list(std::move(items));
}

}  // namespace switchyard
