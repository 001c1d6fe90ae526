#include "trainers/step/training.h"

#include "core/base/error.h"
#include "core/data/token_source.h"
#include "core/kernels/device_settings.h"
#include "core/loss/balance_terms.h"
#include "parallel/expert/all_to_all_dispatcher.h"
#include "parallel/mesh/expert_placement.h"

namespace switchyard {
namespace {

at::ScalarType weight_dtype(const TrainConfig& config) {
  return config.train.precision == "fp64" ? at::kDouble : at::kFloat;
}

at::ScalarType compute_dtype(const TrainConfig& config) {
  return config.train.precision == "bf16" ? at::kBFloat16 : weight_dtype(config);
}

std::unique_ptr<TokenSource> open_source(const TrainConfig& config) {
  SourceContext context;
  context.run_seed = static_cast<uint64_t>(config.run.seed);
  context.sequences_per_step = config.train.sequences_per_step;
  context.micro_sequences = config.train.micro_sequences;
  context.sequence_length = config.sequence_length();
  context.vocab_size = config.model.vocab_size;
  return make_token_source(config.data, context);
}

Transformer build_model(Training& training) {
  const TrainConfig& config = training.config;
  TransformerOptions options;
  options.model = config.model;
  options.moe = config.moe;
  options.seed = static_cast<uint64_t>(config.run.seed);
  options.recompute = config.train.recompute == "full";
  options.compute_dtype = compute_dtype(config);
  options.terms = make_balance_terms(config.moe.for_router(), training.mesh->expert_size());
  options.resources.vocab_size = *config.model.vocab_size;
  if (config.moe.router.type == "hash" && config.moe.router.table == "balanced")
    options.resources.token_counts_V =
        training.source->training_counts(*config.model.vocab_size, config.sequence_length());
  options.make_dispatcher = [&](int64_t num_experts) {
    const ExpertPlacement placement(num_experts, training.mesh->expert_size());
    return make_all_to_all_dispatcher(training.mesh->expert_group(), placement);
  };
  Transformer model(options);
  model->to(training.device, weight_dtype(config));
  return model;
}

// Experts live on some ranks, everything else on all: two buckets with two reductions.
void build_buckets(Training& training) {
  NamedParameters dense, experts;
  for (const auto& item : training.model->named_parameters()) {
    const bool is_expert = item.key().find(".moe.experts.") != std::string::npos;
    (is_expert ? experts : dense).emplace_back(item.key(), item.value());
  }
  training.dense = std::make_unique<FlatBucket>(dense);
  training.experts = std::make_unique<FlatBucket>(experts);
}

// −1 for the experts that every rank computes for its own tokens.
at::Tensor devices_of(const MoEOptions& moe, int num_ranks) {
  const ExpertPlacement placement(moe.num_experts, num_ranks);
  at::Tensor device_E = at::full({moe.num_routable()}, -1, at::kLong);
  for (int64_t expert = 0; expert < moe.num_experts; ++expert)
    device_E[expert] = placement.rank_of(expert);
  return device_E;
}

}  // namespace

std::vector<int64_t> experts_per_layer(const Transformer& model) {
  std::vector<int64_t> experts;
  for (const MoELayer& layer : model->moe_layers())
    experts.push_back(layer->options().moe.num_routable());
  return experts;
}

std::unique_ptr<Training> build_training(const TrainConfig& config, Communicator& world,
                                         at::Device device) {
  prepare_device(device);
  auto training = std::make_unique<Training>();
  training->config = config;
  training->world = &world;
  training->device = device;
  training->source = open_source(config);
  if (!training->config.model.vocab_size)
    training->config.model.vocab_size = training->source->vocab_size();
  LoaderGeometry geometry;
  geometry.sequences_per_step = config.train.sequences_per_step;
  geometry.micro_sequences = config.train.micro_sequences;
  geometry.sequence_length = config.sequence_length();
  geometry.rank = world.rank();
  geometry.num_ranks = world.size();
  training->loader = std::make_unique<Loader>(*training->source, geometry, 0);

  training->mesh = std::make_unique<Mesh>(world, expert_ranks(config, world.size()));
  training->model = build_model(*training);
  for (const MoELayer& layer : training->model->moe_layers())
    training->expert_device_E.push_back(
        devices_of(layer->options().moe, training->mesh->expert_size()));
  build_buckets(*training);
  training->optimizer =
      make_optimizer(config.optim, {training->dense.get(), training->experts.get()});
  training->reduction = std::make_unique<GradientReduction>(*training->mesh);
  training->balance = std::make_unique<BalanceLoss>(training->model->options().terms);
  if (config.moe.router.type == "relu")
    training->relu_l1 =
        std::make_unique<ReluL1>(config.moe.router.l1, config.moe.router.l1_rate, config.moe.top_k);
  training->recent_load = std::make_unique<LoadWindow>(experts_per_layer(training->model));
  if (config.moe.capacity.dynamic)
    training->capacity_factor = at::full({1}, *config.moe.capacity.factor, at::kDouble);
  training->saved_step = at::zeros({}, at::kLong);
  training->saved_tokens = at::zeros({}, at::kLong);
  return training;
}

RoutingContext routing_context(const Training& training, int64_t first_sequence,
                               bool for_training) {
  RoutingContext context;
  context.seed = static_cast<uint64_t>(training.config.run.seed);
  context.step = training.step;
  context.sequence_length = training.loader->geometry().sequence_length;
  context.first_token = first_sequence * context.sequence_length;
  context.communicator = training.world;
  context.training = for_training;
  context.places = false;
  if (training.capacity_factor.defined())
    context.capacity_factor = training.capacity_factor.item<double>();
  if (for_training) context.trace = training.trace.get();
  return context;
}

}  // namespace switchyard
