#include <ATen/ATen.h>

#include <map>

#include "core/base/error.h"
#include "trainers/step/training.h"

namespace switchyard {
namespace {

constexpr const char* kExperts = "experts.";

// One tensor in the layout of a bucket, seen as that of one of its parameters.
at::Tensor view_of(const at::Tensor& flat, const ParameterRange& range) {
  return flat.narrow(0, range.first, range.size).view(range.parameter.sizes());
}

void add_dense(const FlatBucket& bucket, const at::Tensor& flat, const std::string& suffix,
               StateList& state) {
  for (const ParameterRange& range : bucket.ranges())
    state.push_back({global_name(range.name) + suffix, view_of(flat, range)});
}

// Each expert is a tensor of its own under its global number: "layers.3.experts.gate_up" holds
// "layers.3.experts.17.gate_up" in the slot of expert 17.
void add_experts(const FlatBucket& bucket, const at::Tensor& flat, const std::string& suffix,
                 const std::map<std::string, std::vector<int64_t>>& experts_of_layer,
                 StateList& state) {
  for (const ParameterRange& range : bucket.ranges()) {
    const std::string name = global_name(range.name);
    const size_t at = name.find(kExperts) + std::string(kExperts).size();
    const std::vector<int64_t>& local_experts =
        experts_of_layer.at(name.substr(0, name.find(kExperts)));
    const at::Tensor stacked = view_of(flat, range);
    for (size_t slot = 0; slot < local_experts.size(); ++slot)
      state.push_back({fmt::format("{}{}.{}{}", name.substr(0, at), local_experts[slot],
                                   name.substr(at), suffix),
                       stacked.select(0, static_cast<int64_t>(slot))});
  }
}

void add_both(Training& training, const at::Tensor& dense, const at::Tensor& experts,
              const std::string& suffix, StateList& state) {
  std::map<std::string, std::vector<int64_t>> experts_of_layer;
  for (const MoELayer& layer : training.model->moe_layers())
    experts_of_layer[layer->options().name + "."] = layer->local_experts();
  add_dense(*training.dense, dense, suffix, state);
  add_experts(*training.experts, experts, suffix, experts_of_layer, state);
}

}  // namespace

StateList model_state(Training& training) {
  StateList state;
  add_both(training, training.dense->data, training.experts->data, "", state);
  for (const auto& buffer : training.model->named_buffers())
    state.push_back({global_name(buffer.key()), buffer.value()});
  if (training.capacity_factor.defined())
    state.push_back({"controllers.capacity_factor", training.capacity_factor});
  for (const auto& layer : training.model->moe_layers())
    if (const at::Tensor table = layer->router_table(); table.defined())
      state.push_back({layer->options().name + ".router_table", table});
  return state;
}

StateList training_state(Training& training) {
  StateList state = model_state(training);
  const auto dense_states = training.optimizer->states(0);
  const auto expert_states = training.optimizer->states(1);
  for (size_t i = 0; i < dense_states.size(); ++i)
    add_both(training, dense_states[i].second, expert_states[i].second, "." + dense_states[i].first,
             state);
  state.push_back({"optimizer.num_updates", training.optimizer->num_updates()});
  if (training.moe_layers() > 0) {
    state.push_back({"metrics.load_window", training.recent_load->ring()});
    state.push_back({"metrics.load_window_steps", training.recent_load->added()});
  }
  if (training.relu_l1) state.push_back({"controllers.relu_l1", training.relu_l1->state()});
  state.push_back({"step", training.saved_step});
  state.push_back({"loader.position", training.saved_step});
  state.push_back({"tokens", training.saved_tokens});
  return state;
}

void stage_counters(Training& training) {
  training.saved_step.fill_(training.step);
  training.saved_tokens.fill_(training.tokens);
}

void adopt_counters(Training& training) {
  training.step = training.saved_step.item<int64_t>();
  training.tokens = training.saved_tokens.item<int64_t>();
  training.loader->seek(training.step);
}

}  // namespace switchyard
