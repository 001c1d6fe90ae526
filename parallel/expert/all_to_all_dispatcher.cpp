#include "parallel/expert/all_to_all_dispatcher.h"

#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <numeric>

#include "core/base/error.h"
#include "parallel/expert/route_plan.h"

namespace switchyard {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Variable;
using torch::autograd::variable_list;

at::Tensor empty_rows(const at::Tensor& like, const std::vector<int64_t>& rows) {
  std::vector<int64_t> shape = like.sizes().vec();
  shape[0] = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  return at::empty(shape, like.options().requires_grad(false));
}

/// One dispatch: who sends what to whom. Shared by its handle and its nodes of the graph.
struct Route : torch::CustomClassHolder {
  explicit Route(Communicator& expert_group) : group(expert_group) {}

  Communicator& group;
  int64_t num_tokens = 0, top_k = 0;
  SendPlan send;
  ReceivePlan receive;
  at::Tensor send_token_S, row_assignment_P;  ///< of `send`, on the tokens' device

  WorkPtr start_forward(const at::Tensor& output, const at::Tensor& input,
                        const std::vector<int64_t>& receive_rows,
                        const std::vector<int64_t>& send_rows) const {
    return group.all_to_all_v({output}, {input}, receive_rows, send_rows);
  }

  /// Rows of this rank's tokens, once per destination, to their destinations.
  at::Tensor tokens_out(const at::Tensor& x_TD, WorkPtr& work) const {
    const at::Tensor outgoing_SD = x_TD.index_select(0, send_token_S);
    at::Tensor x_UD = empty_rows(outgoing_SD, receive.tokens_N);
    work = start_forward(x_UD, outgoing_SD, receive.tokens_N, send.tokens_N);
    return x_UD;
  }

  /// Rows of other ranks' tokens back to them; what several ranks return for a token is added in
  /// rank order.
  at::Tensor tokens_back(const at::Tensor& y_UD) const {
    const at::Tensor rows_UD = y_UD.contiguous();
    const at::Tensor returned_SD = empty_rows(rows_UD, send.tokens_N);
    start_forward(returned_SD, rows_UD, send.tokens_N, receive.tokens_N)->wait();
    const auto dtype = y_UD.scalar_type() == at::kBFloat16 ? at::kFloat : y_UD.scalar_type();
    at::Tensor y_TD = at::zeros({num_tokens, y_UD.size(1)}, returned_SD.options().dtype(dtype));
    int64_t first = 0;
    for (const int64_t count : send.tokens_N) {
      // A rank returns a token at most once, so the order inside this call does not matter.
      y_TD.index_add_(0, send_token_S.narrow(0, first, count),
                      returned_SD.narrow(0, first, count).to(dtype));
      first += count;
    }
    return y_TD.to(y_UD.scalar_type());
  }

  at::Tensor weights_out(const at::Tensor& weights_TK, WorkPtr& work) const {
    const at::Tensor outgoing_P = weights_TK.reshape({-1}).index_select(0, row_assignment_P);
    at::Tensor weights_R = empty_rows(outgoing_P, receive.rows_N);
    work = start_forward(weights_R, outgoing_P, receive.rows_N, send.rows_N);
    return weights_R;
  }

  at::Tensor weights_back(const at::Tensor& grad_R) const {
    const at::Tensor rows_R = grad_R.contiguous();
    const at::Tensor returned_P = empty_rows(rows_R, send.rows_N);
    start_forward(returned_P, rows_R, send.rows_N, receive.rows_N)->wait();
    at::Tensor grad_TK = at::zeros({num_tokens * top_k}, returned_P.options());
    return grad_TK.index_copy_(0, row_assignment_P, returned_P).view({num_tokens, top_k});
  }
};
using RoutePtr = c10::intrusive_ptr<Route>;

const Route& route_of(AutogradContext* context) {
  return static_cast<const Route&>(*context->saved_data["route"].toCapsule());
}

/// Starts the journey of tokens and weights; its backward pass brings both gradients home.
struct SendTokens : torch::autograd::Function<SendTokens> {
  static variable_list forward(AutogradContext* context, const Variable& x_TD,
                               const Variable& weights_TK, const RoutePtr& route, WorkPtr* tokens,
                               WorkPtr* weights) {
    context->saved_data["route"] = c10::IValue::make_capsule(route);
    return {route->tokens_out(x_TD, *tokens), route->weights_out(weights_TK, *weights)};
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    const Route& route = route_of(context);
    at::Tensor grad_TD = route.tokens_back(grads[0]);
    at::Tensor grad_TK = route.weights_back(grads[1]);
    return {grad_TD, grad_TK, Variable(), Variable(), Variable()};
  }
};

/// Brings results home. Takes the received tokens and weights as well, without a gradient for them,
/// so that the backward pass reaches SendTokens even where the experts did not use them.
struct ReturnTokens : torch::autograd::Function<ReturnTokens> {
  static Variable forward(AutogradContext* context, const Variable& y_UD, const Variable& /*x_UD*/,
                          const Variable& /*weights_R*/, const RoutePtr& route) {
    context->saved_data["route"] = c10::IValue::make_capsule(route);
    return route->tokens_back(y_UD);
  }

  static variable_list backward(AutogradContext* context, variable_list grads) {
    WorkPtr work;
    at::Tensor grad_UD = route_of(context).tokens_out(grads[0], work);
    work->wait();
    return {grad_UD, Variable(), Variable(), Variable()};
  }
};

class AllToAllHandle final : public DispatchHandle {
 public:
  AllToAllHandle(RoutePtr route, const at::Tensor& x_TD, const at::Tensor& weights_TK)
      : route_(std::move(route)) {
    position_R_ = empty_rows(route_->send.row_position_P, route_->receive.rows_N);
    positions_ = route_->start_forward(position_R_, route_->send.row_position_P,
                                       route_->receive.rows_N, route_->send.rows_N);
    const variable_list sent = SendTokens::apply(x_TD, weights_TK, route_, &tokens_, &weights_);
    x_UD_ = sent[0];
    weights_R_ = sent[1];
  }

  Dispatched received() override {
    positions_->wait();
    weights_->wait();
    tokens_->wait();
    Dispatched dispatched;
    const auto device = x_UD_.device();
    dispatched.x_UD = x_UD_;
    dispatched.row_token_R = place_tokens(route_->receive, position_R_).to(device);
    dispatched.row_weight_R = weights_R_.index_select(0, route_->receive.arrival_R.to(device));
    dispatched.offsets_e = route_->receive.offsets_e;
    return dispatched;
  }

  at::Tensor combine(const at::Tensor& y_UD) override {
    SWITCHYARD_CHECK(y_UD.size(0) == x_UD_.size(0), "combine of {} rows, {} tokens were received",
                     y_UD.size(0), x_UD_.size(0));
    return ReturnTokens::apply(y_UD, x_UD_, weights_R_, route_);
  }

 private:
  RoutePtr route_;
  at::Tensor x_UD_, weights_R_, position_R_;  ///< weights and positions by arrival
  WorkPtr positions_, tokens_, weights_;
};

class AllToAllDispatcher final : public TokenDispatcher {
 public:
  AllToAllDispatcher(Communicator& group, ExpertPlacement placement)
      : group_(group), placement_(std::move(placement)) {}

  std::unique_ptr<DispatchHandle> dispatch(const at::Tensor& x_TD,
                                           const RoutingDecision& decision) override {
    auto route = c10::make_intrusive<Route>(group_);
    route->num_tokens = x_TD.size(0);
    route->top_k = decision.expert_ids_TK.size(1);
    const at::Tensor kept_ids_TK =
        decision.expert_ids_TK.masked_fill(decision.kept_TK.logical_not(), -1);
    route->send = plan_send(kept_ids_TK.cpu().contiguous(), placement_);
    const std::vector<int64_t> one_each(static_cast<size_t>(group_.size()), 1);
    const at::Tensor counts_NC = at::empty_like(route->send.counts_NC);
    group_.all_to_all_v({counts_NC}, {route->send.counts_NC}, one_each, one_each)->wait();
    route->receive = plan_receive(counts_NC, static_cast<int64_t>(local_experts().size()));
    route->send_token_S = route->send.send_token_S.to(x_TD.device());
    route->row_assignment_P = route->send.row_assignment_P.to(x_TD.device());
    return std::make_unique<AllToAllHandle>(std::move(route), x_TD, decision.weights_TK);
  }

  const std::vector<int64_t>& local_experts() const override {
    return placement_.experts_of(group_.rank());
  }

 private:
  Communicator& group_;
  ExpertPlacement placement_;
};

}  // namespace

std::unique_ptr<TokenDispatcher> make_all_to_all_dispatcher(Communicator& group,
                                                            ExpertPlacement placement) {
  SWITCHYARD_CHECK(placement.num_ranks() == group.size(), "experts placed on {} ranks, group of {}",
                   placement.num_ranks(), group.size());
  const auto& first = placement.experts_of(0);
  if (group.size() == 1 && std::is_sorted(first.begin(), first.end()))
    return make_local_dispatcher(placement.num_experts());
  return std::make_unique<AllToAllDispatcher>(group, std::move(placement));
}

}  // namespace switchyard
