#include "parallel/checkpoint/state_plan.h"

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <tuple>

#include "core/base/error.h"
#include "core/checkpoint/safetensors_header.h"
#include "core/checkpoint/tensor_bytes.h"
#include "parallel/checkpoint/together.h"

namespace switchyard {
namespace {

using nlohmann::json;

std::string listing_of(const StateList& state) {
  json listing = json::array();
  for (const auto& item : state) {
    SWITCHYARD_CHECK(item.tensor.defined(), "state tensor {} is undefined", item.name);
    const auto dtype = dtype_name(item.tensor.scalar_type());
    SWITCHYARD_CHECK(dtype.has_value(), "state tensor {} has a dtype that no file can hold",
                     item.name);
    listing.push_back({item.name, *dtype, item.tensor.sizes().vec()});
  }
  return listing.dump();
}

/// Adds one rank's listing to the plan, which is kept sorted by name.
void add_listing(const json& listing, int rank, std::map<std::string, PlannedTensor>& plan) {
  for (const auto& row : listing) {
    PlannedTensor tensor{row[0], *dtype_from_name(row[1].get<std::string>()), row[2]};
    tensor.bytes = tensor_bytes(tensor.dtype, tensor.shape, tensor.name);
    const auto [place, is_new] = plan.try_emplace(tensor.name, tensor);
    PlannedTensor& known = place->second;
    if (!is_new && known.holders.back() == rank)
      throw CheckpointError(
          fmt::format("rank {} lists the state tensor {} twice", rank, known.name));
    if (known.dtype != tensor.dtype || known.shape != tensor.shape)
      throw CheckpointError(fmt::format("state tensor {} is {} on rank {} and {} on rank {}",
                                        known.name, describe_tensor(known.dtype, known.shape),
                                        known.holders.front(),
                                        describe_tensor(tensor.dtype, tensor.shape), rank));
    known.holders.push_back(rank);
  }
}

/// Tensors with the fewest holders first, then the largest: each to the holder with the least so
/// far.
void choose_writers(std::vector<PlannedTensor>& plan, int ranks) {
  std::vector<PlannedTensor*> order;
  for (auto& tensor : plan) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const PlannedTensor* a, const PlannedTensor* b) {
    return std::tuple(a->holders.size(), b->bytes, std::string_view(a->name)) <
           std::tuple(b->holders.size(), a->bytes, std::string_view(b->name));
  });
  std::vector<uint64_t> load(static_cast<size_t>(ranks), 0);
  for (PlannedTensor* tensor : order) {
    tensor->writer = *std::min_element(
        tensor->holders.begin(), tensor->holders.end(),
        [&](int a, int b) { return load[static_cast<size_t>(a)] < load[static_cast<size_t>(b)]; });
    load[static_cast<size_t>(tensor->writer)] += tensor->bytes;
  }
}

}  // namespace

std::vector<PlannedTensor> plan_state(Communicator& comm, const StateList& state) {
  std::string listing;
  run_together(comm, [&] { listing = listing_of(state); });
  const auto listings = gather_texts(comm, listing);

  std::map<std::string, PlannedTensor> by_name;
  for (int rank = 0; rank < comm.size(); ++rank)
    add_listing(json::parse(listings[static_cast<size_t>(rank)]), rank, by_name);
  std::vector<PlannedTensor> plan;
  for (auto& [name, tensor] : by_name) plan.push_back(std::move(tensor));
  choose_writers(plan, comm.size());
  return plan;
}

StateList items_written_by(int rank, const std::vector<PlannedTensor>& plan,
                           const StateList& state) {
  StateList mine;
  for (const auto& item : state) {
    const auto planned = std::lower_bound(
        plan.begin(), plan.end(), item.name,
        [](const PlannedTensor& tensor, const std::string& name) { return tensor.name < name; });
    SWITCHYARD_CHECK(planned != plan.end() && planned->name == item.name);
    if (planned->writer == rank) mine.push_back(item);
  }
  return mine;
}

}  // namespace switchyard
