#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <iostream>
#include <mutex>

#include "core/kernels/linear_cross_entropy.h"
#include "parallel/comm/thread_communicator.h"
#include "tests/core/kernels/compare.h"
#include "tests/golden/golden_model.h"
#include "tests/support/expect.h"
#include "tests/support/largest.h"
#include "trainers/step/train_step.h"

// Imported models compute what transformers computes, on one rank and with sharded experts.

using namespace switchyard;
using namespace switchyard::golden;
using test::difference;

namespace {

const std::vector<int> kRanks = {1, 2, 4};

/// The largest differences that any rank saw.
struct Worst {
  test::Largest logits, nll, gradient, router;
  std::string gradient_name;
  std::set<std::string> compared, skipped;  // our tensors with and without a gradient to compare
  int64_t other_experts = 0;
};

/// [T, E]: the combine weight of each expert, 0 where it was not chosen; and which were chosen.
at::Tensor spread(const at::Tensor& ids_TK, const at::Tensor& values_TK, int64_t num_experts) {
  return at::zeros({ids_TK.size(0), num_experts}).scatter(1, ids_TK, values_TK.to(at::kFloat));
}

struct OnePass {
  ModelOutput output;
  at::Tensor logits, nll_sum;
};

// This rank's block of the golden sequences, which may be empty; the last token predicts nothing.
OnePass forward(Training& training, const Golden& golden, Share block) {
  const at::Tensor ids_BL = golden("input_ids").narrow(0, block.first, block.count);
  at::Tensor targets_BL = ids_BL.roll(-1, 1);
  targets_BL.select(1, -1).fill_(-1);
  RoutingContext context = routing_context(training, block.first, true);
  context.first_token = block.first * ids_BL.size(1);
  OnePass pass{training.model->forward(ids_BL, context), {}, {}};
  const at::Tensor head = training.model->head_VD();
  pass.logits = at::mm(pass.output.hidden_TD.detach(), head.detach().t());
  pass.nll_sum =
      linear_cross_entropy(pass.output.hidden_TD, head, targets_BL.reshape({-1})).nll_sum;
  return pass;
}

void compare_routers(const Training& training, const Golden& golden, const OnePass& pass,
                     Share block, Worst& worst) {
  const int64_t L = golden("input_ids").size(1), E = training.config.moe.num_experts;
  size_t moe = 0;
  for (int64_t layer = 0; layer < training.config.model.num_layers; ++layer) {
    if (!training.config.moe.layers.contains(layer)) continue;
    const RoutingDecision& decision = pass.output.layers[moe++].decision;
    const auto expected = [&](int part) {
      return golden(fmt::format("router.model.layers.{}.mlp.gate.{}", layer, part))
          .narrow(0, block.first * L, block.count * L);
    };
    const at::Tensor ids = expected(2), ours = decision.expert_ids_TK;
    worst.router.see(difference(decision.logits_TE, expected(0)));
    worst.router.see(
        difference(spread(ours, decision.weights_TK.detach(), E), spread(ids, expected(1), E)));
    worst.other_experts += spread(ours, at::ones_like(ours), E)
                               .ne(spread(ids, at::ones_like(ids), E))
                               .sum()
                               .item<int64_t>();
  }
}

// The gradient of each of our tensors that this rank holds, under its global name.
std::map<std::string, at::Tensor> gradients_of(Training& training) {
  std::map<std::string, at::Tensor> gradients;
  for (const auto& item : training.model->named_parameters()) {
    const std::string name = global_name(item.key());
    const size_t at = name.find("experts.");
    if (at == std::string::npos) {
      gradients[name] = item.value().grad();
      continue;
    }
    const auto& experts = training.model->moe_layers().front()->local_experts();
    for (size_t slot = 0; slot < experts.size(); ++slot)
      gradients[fmt::format("{}{}.{}", name.substr(0, at + 8), experts[slot],
                            name.substr(at + 8))] =
          item.value().grad().select(0, static_cast<int64_t>(slot));
  }
  return gradients;
}

void compare_gradients(Training& training, const Golden& golden, Worst& worst) {
  std::set<std::string> names;
  for (const auto& [key, value] : golden.values)
    if (key.starts_with("grad.")) names.insert(key.substr(5));
  const auto ours = gradients_of(training);
  std::set<std::string> used;
  for (const HfTarget& target : hf_targets(golden.imported.model, names)) {
    for (const HfPart& part : target.parts) used.insert(part.name);
    const auto found = ours.find(target.name);
    if (found == ours.end()) {
      worst.skipped.insert(target.name);
      continue;
    }
    const at::Tensor expected =
        assemble(target, [&](const std::string& name) { return golden("grad." + name); });
    const double part = expected.norm().item<double>() == 0 ? difference(found->second, expected)
                                                            : relative(found->second, expected);
    if (part > worst.gradient.value()) worst.gradient_name = target.name;
    worst.gradient.see(part);
    worst.compared.insert(target.name);
  }
  for (const auto& name : names) EXPECT(used.count(name) == 1, "{} was not compared", name);
}

// Our tensors whose gradient no rank compared. The selection bias is a buffer and has none.
std::vector<std::string> left_out(const Worst& worst) {
  std::vector<std::string> names;
  for (const auto& name : worst.skipped)
    if (!worst.compared.contains(name) && !name.ends_with(".router_bias")) names.push_back(name);
  return names;
}

Worst compare(const Golden& golden, int ranks) {
  Worst worst;
  std::mutex mutex;
  const at::Tensor& ids = golden("input_ids");
  const double scored = static_cast<double>(ids.size(0) * (ids.size(1) - 1));
  run_ranks(ranks, [&](Communicator& world) {
    const auto training = build(golden, 4, world);
    const Share block = block_of(world.rank(), world.size(), ids.size(0));
    training->model->train();
    training->dense->zero_grad();
    training->experts->zero_grad();
    const OnePass pass = forward(*training, golden, block);
    (pass.nll_sum / scored).backward();
    training->reduction->start({training->dense->grad, false});
    training->reduction->start({training->experts->grad, true});
    training->reduction->finish();
    const at::Tensor nll_sum = pass.nll_sum.detach().reshape({1}).clone();
    world.all_reduce({nll_sum}, ReduceOp::kSum)->wait();

    const std::lock_guard lock(mutex);
    const at::Tensor logits = golden("logits").narrow(0, block.first, block.count).flatten(0, 1);
    worst.logits.see(difference(pass.logits, logits));
    worst.nll.see(nll_sum.item<double>() / scored - golden("nll").item<double>());
    compare_routers(*training, golden, pass, block, worst);
    compare_gradients(*training, golden, worst);
  });
  return worst;
}

/// Training sequences from a tensor [steps, sequences, L + 1].
class GivenSequences : public TokenSource {
 public:
  explicit GivenSequences(at::Tensor ids) : ids_(std::move(ids)) {}
  int64_t vocab_size() const override { return ids_.max().item<int64_t>() + 1; }
  const std::vector<std::string>& domains() const override { return domains_; }
  void training_sequence(int64_t step, int64_t sequence, int64_t length,
                         const SequenceOut& out) const override {
    // The loader looks ahead, beyond the last step.
    const at::Tensor row = ids_[step % ids_.size(0)][sequence];
    const int64_t* data = row.const_data_ptr<int64_t>();
    std::copy(data, data + length, out.tokens);
    std::copy(data + 1, data + 1 + length, out.targets);
    std::fill_n(out.domains, length, 0);
  }
  int64_t num_validation_sequences(int64_t) const override { return 0; }
  void validation_sequence(int64_t, int64_t, const SequenceOut&) const override {}
  std::string fingerprint() const override { return "given"; }

 private:
  at::Tensor ids_;
  std::vector<std::string> domains_ = {"all"};
};

struct Trace {
  std::vector<double> nll, norm;
};

Trace train(const Golden& golden, int ranks) {
  Trace trace;
  run_ranks(ranks, [&](Communicator& world) {
    const auto training = build(golden, 4, world);
    const LoaderGeometry geometry = training->loader->geometry();
    training->loader.reset();
    training->source = std::make_unique<GivenSequences>(golden("train.ids"));
    training->loader = std::make_unique<Loader>(*training->source, geometry, 0);
    for (int64_t step = 0; step < training->config.train.steps; ++step) {
      const StepReport report = train_step(*training);
      if (world.rank() != 0) continue;
      trace.nll.push_back(report.nll);
      trace.norm.push_back(report.grad_norm);
    }
  });
  return trace;
}

}  // namespace

TEST_CASE("golden: logits, loss, routers and gradients are those of transformers") {
  for (const auto& name : kModels) {
    const Golden golden = read_golden(name);
    for (const int ranks : kRanks) {
      const Worst worst = compare(golden, ranks);
      std::cout << fmt::format(
          "golden: {}, {} ranks: largest differences: logits {:.1e}, nll {:.1e}, routers {:.1e}, "
          "gradients {:.1e} of their norm ({}; {} compared)\n",
          name, ranks, worst.logits.value(), worst.nll.value(), worst.router.value(),
          worst.gradient.value(), worst.gradient_name, worst.compared.size());
      CAPTURE(name, ranks, worst.gradient_name);
      CHECK(worst.logits.value() <= 1e-4);
      CHECK(worst.nll.value() <= 1e-5);
      CHECK(worst.router.value() <= 1e-5);
      CHECK(worst.other_experts == 0);
      CHECK(worst.gradient.value() <= 1e-4);
      CHECK(left_out(worst) == std::vector<std::string>{});
      CHECK(!worst.compared.empty());
    }
  }
}

TEST_CASE("golden: twelve steps of AdamW follow those of transformers") {
  for (const auto& name : kModels) {
    const Golden golden = read_golden(name);
    const auto nll = golden("train.nll").to(at::kDouble);
    const auto norm = golden("train.grad_norm").to(at::kDouble);
    for (const int ranks : kRanks) {
      const Trace trace = train(golden, ranks);
      REQUIRE(static_cast<int64_t>(trace.nll.size()) == nll.size(0));
      test::Largest first, all, norms;
      for (size_t step = 0; step < trace.nll.size(); ++step) {
        const auto i = static_cast<int64_t>(step);
        const double off = trace.nll[step] - nll[i].item<double>();
        all.see(off);
        if (step < 3) first.see(off);
        const double expected = norm[i].item<double>();
        norms.see((trace.norm[step] - expected) / expected);
      }
      std::cout << fmt::format(
          "golden: {}, {} ranks, 12 steps: largest nll difference {:.1e} in the first three, "
          "{:.1e} in all; gradient norms {:.1e} relative\n",
          name, ranks, first.value(), all.value(), norms.value());
      CAPTURE(name, ranks);
      CHECK(first.value() <= 1e-4);
      CHECK(all.value() <= 2e-3);
      CHECK(norms.value() <= 1e-3);
    }
  }
}
