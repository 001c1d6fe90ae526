#include "trainers/step/step_sums.h"

#include <limits>

namespace switchyard {
namespace {

RoutingSums::Shape shape_of(const Training& training, int64_t micro_batches) {
  RoutingSums::Shape shape;
  shape.experts = experts_per_layer(training.model);
  shape.domains = static_cast<int64_t>(training.source->domains().size());
  shape.micro_batches = micro_batches;
  shape.rank = training.world->rank();
  shape.num_ranks = training.world->size();
  return shape;
}

}  // namespace

StepSums::StepSums(const Training& training, int64_t micro_batches)
    : routing_(shape_of(training, micro_batches), training.device) {
  routing_.set_placement(training.expert_device_E, training.mesh->expert_size());
}

void StepSums::add(const ModelOutput& output, int64_t micro, const TokenFacts& tokens) {
  for (size_t i = 0; i < output.layers.size(); ++i) {
    const auto layer = static_cast<int64_t>(i);
    routing_.accumulate(layer, micro, output.layers[i].decision, tokens);
    routing_.accumulate(layer, output.layers[i].work);
  }
}

void StepSums::reduce(Communicator& world) {
  at::Tensor integers = routing_.integers(), reals = routing_.reals(), maxima = routing_.maxima();
  at::Tensor nll = at::full({1}, nll_sum_, reals.options());
  WorkPtr works[] = {world.all_reduce({integers}, ReduceOp::kSum),
                     world.all_reduce({reals, nll}, ReduceOp::kSum),
                     world.all_reduce({maxima}, ReduceOp::kMax)};
  for (WorkPtr& work : works) work->wait();
  nll_sum_ = nll.item<double>();
  layers_ = routing_.layers();
}

at::Tensor StepSums::counts_E(size_t layer) const {
  return at::tensor(layers_[layer].counts_E(), at::kLong);
}

TokenFacts facts_of(const Batch& batch, at::Device device) {
  const int64_t length = batch.tokens_BL.size(1);
  return {batch.domain_BL.reshape({-1}).to(device), length};
}

void add_bias_range(const Training& training, LayerMetrics& metrics) {
  for (const MoELayer& layer : training.model->moe_layers()) {
    double range = std::numeric_limits<double>::quiet_NaN();
    if (layer->router_bias_E.defined()) {
      const at::Tensor bias_E = layer->router_bias_E.cpu().to(at::kDouble).contiguous();
      const double* bias = bias_E.data_ptr<double>();
      range = bias_range({bias, bias + bias_E.numel()});
    }
    metrics["bias_range"].push_back(range);
  }
}

}  // namespace switchyard
