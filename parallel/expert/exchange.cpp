#include "parallel/expert/exchange.h"

#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <numeric>

namespace switchyard {
namespace {

at::Tensor buffer_for(const at::Tensor& rows, int64_t count) {
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = count;
  return at::empty(shape, rows.options().requires_grad(false));
}

struct PlanHolder : torch::CustomClassHolder {
  explicit PlanHolder(ExchangePlan p) : plan(std::move(p)) {}
  ExchangePlan plan;
};

// Puts what has already arrived into the graph as a function of what was sent.
struct Arrival : torch::autograd::Function<Arrival> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor&,
                            const at::Tensor& arrived, const ExchangePlan& plan) {
    context->saved_data["plan"] = c10::IValue::make_capsule(c10::make_intrusive<PlanHolder>(plan));
    return arrived.view_as(arrived);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list grads) {
    const auto holder = context->saved_data["plan"].toCapsule();
    const ExchangePlan back = static_cast<const PlanHolder&>(*holder).plan.reversed();
    return {Exchange(back, grads[0].contiguous()).received(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

int64_t ExchangePlan::num_sent() const {
  return std::accumulate(send_rows.begin(), send_rows.end(), int64_t{0});
}

int64_t ExchangePlan::num_received() const {
  return std::accumulate(receive_rows.begin(), receive_rows.end(), int64_t{0});
}

Exchange::Exchange(ExchangePlan plan, const at::Tensor& rows)
    : plan_(std::move(plan)),
      sent_(rows.contiguous()),
      buffer_(buffer_for(rows, plan_.num_received())) {
  work_ =
      plan_.group->all_to_all_v({buffer_}, {sent_.detach()}, plan_.receive_rows, plan_.send_rows);
}

at::Tensor Exchange::received() {
  work_->wait();
  if (!sent_.requires_grad() || !at::GradMode::is_enabled()) return buffer_;
  return Arrival::apply(sent_, buffer_, plan_);
}

}  // namespace switchyard
