#include <ATen/ATen.h>

#include <numeric>

#include "core/kernels/rows.h"
#include "core/moe/token_dispatcher.h"

namespace switchyard {
namespace {

class LocalHandle final : public DispatchHandle {
 public:
  explicit LocalHandle(Dispatched dispatched) : dispatched_(std::move(dispatched)) {}
  Dispatched received() override { return std::move(dispatched_); }
  at::Tensor combine(const at::Tensor& y_UD) override { return y_UD; }

 private:
  Dispatched dispatched_;
};

class LocalDispatcher final : public TokenDispatcher {
 public:
  explicit LocalDispatcher(int64_t num_experts) : experts_(static_cast<size_t>(num_experts)) {
    std::iota(experts_.begin(), experts_.end(), int64_t{0});
  }

  std::unique_ptr<DispatchHandle> dispatch(const at::Tensor& x_TD,
                                           const RoutingDecision& decision) override {
    RowPlan plan =
        plan_rows(decision.expert_ids_TK, decision.kept_TK, static_cast<int64_t>(experts_.size()));
    Dispatched dispatched;
    dispatched.x_UD = x_TD;
    dispatched.row_weight_R =
        decision.weights_TK.reshape({-1}).index_select(0, plan.row_assignment_R);
    dispatched.row_token_R = std::move(plan.row_token_R);
    dispatched.offsets_e = std::move(plan.offsets_E);
    return std::make_unique<LocalHandle>(std::move(dispatched));
  }

  const std::vector<int64_t>& local_experts() const override { return experts_; }

 private:
  std::vector<int64_t> experts_;
};

}  // namespace

std::unique_ptr<TokenDispatcher> make_local_dispatcher(int64_t num_experts) {
  return std::make_unique<LocalDispatcher>(num_experts);
}

}  // namespace switchyard
