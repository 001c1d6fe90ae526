#pragma once

#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>

#include <string>
#include <vector>

#include "core/base/communicator.h"
#include "core/base/partition.h"
#include "core/checkpoint/state.h"
#include "parallel/checkpoint/manifest.h"

namespace switchyard::test {

/// The state of a toy training: dense tensors on all ranks, experts spread unevenly over them,
/// moments beside the weights, counters. `value` 0 makes zeros to be filled.
class ToyState {
 public:
  ToyState(const Communicator& comm, int64_t num_experts, double value) {
    for (const char* name : {"embed.weight", "layers.0.router", "head"}) add(name, {5, 3}, value);
    add("layers.0.bias", {num_experts}, value);
    // A view of a flat bucket, as in training.
    const Share mine = block_of(comm.rank(), comm.size(), num_experts);
    flat_ = at::zeros({2, std::max<int64_t>(mine.count, 1), 7}, at::kFloat);
    for (int64_t i = 0; i < mine.count; ++i) {
      const auto expert = mine.first + i;
      add_view(fmt::format("layers.0.experts.{}.gate_up", expert), flat_[0][i], value);
      add_view(fmt::format("layers.0.experts.{}.gate_up.exp_avg", expert), flat_[1][i], value);
    }
    list_.push_back({"step", at::full({}, static_cast<int64_t>(value), at::kLong)});
  }

  const StateList& list() const { return list_; }

  /// "" if every tensor has the values of `value`, else the name of one that has not.
  std::string difference(double value) const {
    for (const auto& [name, tensor] : list_) {
      const bool same = name == "step"
                            ? tensor.item<int64_t>() == static_cast<int64_t>(value)
                            : at::equal(tensor, pattern(name, tensor.sizes().vec(), value));
      if (!same) return name;
    }
    return "";
  }

 private:
  static at::Tensor pattern(const std::string& name, const std::vector<int64_t>& shape,
                            double value) {
    at::Tensor tensor = at::zeros(shape, at::kFloat);
    double sum = 0;
    for (const char c : name) sum = sum * 1.25 + c;
    auto* out = tensor.mutable_data_ptr<float>();
    for (int64_t i = 0; value != 0 && i < tensor.numel(); ++i)
      out[i] = static_cast<float>(sum + value * static_cast<double>(i));
    return tensor;
  }
  void add(const std::string& name, const std::vector<int64_t>& shape, double value) {
    list_.push_back({name, pattern(name, shape, value)});
  }
  void add_view(const std::string& name, at::Tensor view, double value) {
    view.copy_(pattern(name, view.sizes().vec(), value));
    list_.push_back({name, view});
  }

  at::Tensor flat_;
  StateList list_;
};

inline CheckpointMetadata toy_metadata(int64_t step, const std::string& run_id = "run") {
  return {step,       run_id,           "model: {num_layers: 1}\n",
          "toy data", {{"ranks", "2"}}, {{"wall_s", 1.5}}};
}

}  // namespace switchyard::test
