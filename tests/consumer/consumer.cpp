#include <torch/torch.h>

#include <cstdio>

#include "core/moe/layers.h"

// Another project's model with a mixture-of-experts layer of Switchyard in it.
struct ModelImpl : torch::nn::Module {
  torch::nn::Linear in{nullptr}, out{nullptr};
  switchyard::DeepSeekMoE moe{nullptr};

  ModelImpl() {
    in = register_module("in", torch::nn::Linear(4, 32));
    moe = register_module("moe",
                          switchyard::DeepSeekMoE(switchyard::DeepSeekMoEOptions{
                              .hidden_dim = 32, .expert_dim = 16, .num_experts = 8, .top_k = 2}));
    out = register_module("out", torch::nn::Linear(32, 1));
  }
  torch::Tensor forward(const torch::Tensor& x) {
    const auto h = in(x);
    return out(h + moe->forward(h));
  }
};
TORCH_MODULE(Model);

int main() {
  torch::manual_seed(1);
  Model model;
  torch::optim::AdamW optimizer(model->parameters(), torch::optim::AdamWOptions(1e-2));
  const auto x = torch::randn({256, 4}), y = x.prod(1, true);
  double first = 0, last = 0;
  for (int step = 0; step < 200; ++step) {
    optimizer.zero_grad();
    const auto loss = torch::mse_loss(model(x), y);
    loss.backward();
    optimizer.step();
    last = loss.item<double>();
    if (step == 0) first = last;
  }
  std::printf("loss %.4f -> %.4f\n", first, last);
  return last < 0.2 * first ? 0 : 1;
}
