#include "trainers/step/step_sums.h"

namespace switchyard {
namespace {

RoutingSums::Shape shape_of(const Training& training, int64_t micro_batches) {
  RoutingSums::Shape shape;
  shape.experts = experts_per_layer(training.model);
  shape.domains = static_cast<int64_t>(training.source->domains().size());
  shape.micro_batches = micro_batches;
  return shape;
}

}  // namespace

StepSums::StepSums(const Training& training, int64_t micro_batches)
    : routing_(shape_of(training, micro_batches), training.device) {
  routing_.set_placement(training.expert_device_E, training.mesh->expert_size());
}

void StepSums::add(const ModelOutput& output, int64_t micro, const at::Tensor& domain_T) {
  for (size_t layer = 0; layer < output.layers.size(); ++layer)
    routing_.accumulate(static_cast<int64_t>(layer), micro, output.layers[layer].decision,
                        domain_T);
}

void StepSums::reduce(Communicator& world) {
  at::Tensor integers = routing_.integers(), reals = routing_.reals(), maxima = routing_.maxima();
  at::Tensor nll = at::full({1}, nll_sum_, at::kDouble);
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

void add_bias_range(const Training& training, LayerMetrics& metrics) {
  std::vector<double> ranges;
  for (const MoELayer& layer : training.model->moe_layers()) {
    if (!layer->router_bias_E.defined()) return;
    const at::Tensor bias_E = layer->router_bias_E.cpu().to(at::kDouble).contiguous();
    const double* bias = bias_E.data_ptr<double>();
    ranges.push_back(bias_range({bias, bias + bias_E.numel()}));
  }
  metrics["bias_range"] = ranges;
}

}  // namespace switchyard
