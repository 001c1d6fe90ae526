#include "core/loss/balance_loss.h"

#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/variable.h>

#include "core/base/error.h"

namespace switchyard {
namespace {

using LayerTerms = std::vector<std::vector<at::Tensor>>;

at::Tensor concatenate(const LayerTerms& layers) {
  std::vector<at::Tensor> columns;
  for (const auto& layer : layers) columns.insert(columns.end(), layer.begin(), layer.end());
  return at::cat(columns, 1);
}

void add_to(std::vector<std::vector<at::Tensor>>& table, size_t layer, size_t term,
            const at::Tensor& counts) {
  if (table.size() <= layer) table.resize(layer + 1);
  if (table[layer].size() <= term) table[layer].resize(term + 1);
  at::Tensor& cell = table[layer][term];
  cell = cell.defined() ? cell + counts : counts;
}

}  // namespace

BalanceLoss::BalanceLoss(BalanceTerms terms) : terms_(std::move(terms)) {}

void BalanceLoss::begin_step(const StepCoefficients& now) {
  now_ = now;
  seen_.clear();
  exact_.clear();
}

bool BalanceLoss::needs_counting_pass() const {
  for (const auto& term : terms_)
    if (term->needs_counting_pass()) return true;
  return false;
}

BalanceLoss::Gathered BalanceLoss::gather(const at::Tensor& mine_SW, Communicator& comm) const {
  const bool empty = mine_SW.size(1) == 0;  // on every rank alike
  if (comm.size() == 1 || empty) return {mine_SW, 0};
  const at::Tensor counts = at::full({1}, mine_SW.size(0), at::kLong);
  at::Tensor all_counts = at::empty({comm.size(), 1}, at::kLong);
  comm.all_gather({all_counts}, {counts})->wait();
  Gathered gathered{gather_rows(comm, mine_SW.contiguous()), 0};
  gathered.first = all_counts.narrow(0, 0, comm.rank()).sum().item<int64_t>();
  return gathered;
}

void BalanceLoss::count(const LayerTerms& layers, Communicator& comm) {
  if (terms_.empty() || layers.empty()) return;
  const at::Tensor all_NW = gather(concatenate(layers).detach(), comm).all_NW;
  int64_t column = 0;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    for (size_t term = 0; term < terms_.size(); ++term) {
      const int64_t width = layers[layer][term].size(1);
      if (terms_[term]->needs_counting_pass())
        add_to(exact_, layer, term, terms_[term]->counts(all_NW.narrow(1, column, width)));
      column += width;
    }
  }
}

at::Tensor BalanceLoss::step_counts(size_t layer, size_t term, const at::Tensor& sums_NW) {
  if (terms_[term]->needs_counting_pass()) {
    SWITCHYARD_CHECK(layer < exact_.size(), "exact f without its counting pass");
    return exact_[layer][term];
  }
  const at::Tensor counts = terms_[term]->counts(sums_NW);
  if (!counts.defined()) return {};
  add_to(seen_, layer, term, counts);
  return seen_[layer][term];
}

BalanceValue BalanceLoss::evaluate(const LayerTerms& layers, int64_t sequence_length,
                                   Communicator& comm) {
  BalanceValue result;
  if (terms_.empty() || layers.empty()) return result;
  const at::Tensor mine_SW = concatenate(layers);
  const Gathered gathered = gather(mine_SW.detach(), comm);
  at::Tensor all_NW = gathered.all_NW.detach().requires_grad_(true);
  at::Tensor total = at::zeros({}, all_NW.options().requires_grad(false));
  {
    at::AutoGradMode enabled(true);
    int64_t column = 0;
    for (size_t layer = 0; layer < layers.size(); ++layer) {
      result.terms.emplace_back();
      for (size_t term = 0; term < terms_.size(); ++term) {
        const int64_t width = layers[layer][term].size(1);
        const at::Tensor sums_NW = all_NW.narrow(1, column, width);
        column += width;
        const TermContext context{sequence_length, step_counts(layer, term, sums_NW.detach())};
        const at::Tensor value = terms_[term]->value(sums_NW, context);
        result.terms.back().push_back(value.item<double>());
        total = total + value * share_of(*terms_[term], layers.size());
      }
    }
  }
  result.value = total.item<double>();
  if (mine_SW.requires_grad() && total.requires_grad()) {
    const at::Tensor slope_NW = torch::autograd::grad({total}, {all_NW})[0];
    const at::Tensor slope_SW = slope_NW.narrow(0, gathered.first, mine_SW.size(0));
    result.surrogate = (mine_SW * slope_SW).sum();
  }
  return result;
}

BalanceValue BalanceLoss::evaluate_weights(const std::vector<at::Tensor>& routers, int rank) const {
  BalanceValue result;
  at::Tensor total;
  for (const at::Tensor& router_ED : routers) {
    result.terms.emplace_back();
    for (const auto& term : terms_) {
      const at::Tensor value = term->weight_value(router_ED);
      result.terms.back().push_back(value.defined() ? value.item<double>() : 0.0);
      if (!value.defined()) continue;
      const at::Tensor weighted = value * share_of(*term, routers.size());
      total = total.defined() ? total + weighted : weighted;
    }
  }
  if (!total.defined()) return result;
  result.value = total.item<double>();
  if (rank == 0) result.surrogate = total;
  return result;
}

double BalanceLoss::share_of(const BalanceTerm& term, size_t num_layers) const {
  return term.coefficient(now_) / static_cast<double>(num_layers);
}

}  // namespace switchyard
