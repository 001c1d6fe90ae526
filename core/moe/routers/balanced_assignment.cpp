#include "core/moe/routers/balanced_assignment.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <limits>
#include <vector>

namespace switchyard {
namespace {

constexpr double kFar = std::numeric_limits<double>::infinity();

struct Move {
  double loss;  // what the sum loses when the token changes its expert
  int64_t token;
};

bool later(const Move& a, const Move& b) {
  return a.loss != b.loss ? a.loss > b.loss : a.token > b.token;
}

// A minimum-cost flow: token → expert → seats. Node E stands for the T mod E seats beyond ⌊T/E⌋:
// an expert may use one, or hand its own to another. Prices keep all reduced costs ≥ 0.
class Assignment {
 public:
  Assignment(const double* scores, int64_t tokens, int64_t experts)
      : scores_(scores),
        E_(experts),
        seats_(tokens / experts),
        extra_seats_(tokens % experts),
        expert_(static_cast<size_t>(tokens), -1),
        load_(static_cast<size_t>(experts), 0),
        price_(static_cast<size_t>(experts) + 1, 0.0),
        moves_(static_cast<size_t>(experts * experts)),
        loss_(static_cast<size_t>(experts * experts), kFar) {}

  // Seats one more token.
  void enter(int64_t token) {
    const int64_t last = find_path(token);
    follow(token, last);
  }

  const std::vector<int64_t>& experts() const { return expert_; }

 private:
  double score(int64_t token, int64_t expert) const { return scores_[token * E_ + expert]; }

  // Shortest path from the token to a free seat; returns the node before the seat.
  int64_t find_path(int64_t token) {
    start(token);
    extra_used_ = 0;
    for (const int64_t load : load_) extra_used_ += load > seats_;
    double seat_distance = kFar;
    int64_t last = -1;
    while (true) {
      int64_t node = -1;
      for (int64_t v = 0; v <= E_; ++v)
        if (!done_[v] && (node < 0 || distance_[v] < distance_[node])) node = v;
      if (node < 0 || seat_distance <= distance_[node]) break;
      done_[node] = true;
      const bool free = node == E_ ? extra_used_ < extra_seats_ : load_[node] < seats_;
      const double here = distance_[node] + std::max(0.0, price_[node] - seat_price_);
      if (free && here < seat_distance) {
        seat_distance = here;
        last = node;
      }
      relax(node);
    }
    for (int64_t v = 0; v <= E_; ++v) price_[v] += std::min(distance_[v], seat_distance);
    seat_price_ += seat_distance;
    return last;
  }

  void start(int64_t token) {
    distance_.assign(static_cast<size_t>(E_) + 1, kFar);
    before_.assign(static_cast<size_t>(E_) + 1, -1);
    done_.assign(static_cast<size_t>(E_) + 1, false);
    double least = kFar;
    for (int64_t e = 0; e < E_; ++e) {
      distance_[e] = -score(token, e) - price_[e];
      least = std::min(least, distance_[e]);
    }
    for (int64_t e = 0; e < E_; ++e) distance_[e] -= least;
  }

  void relax(int64_t node) {
    const auto reach = [&](int64_t other, double cost) {
      const double there = distance_[node] + std::max(0.0, cost + price_[node] - price_[other]);
      if (done_[other] || !(there < distance_[other])) return;
      distance_[other] = there;
      before_[other] = node;
    };
    if (node == E_) {
      for (int64_t e = 0; e < E_; ++e)
        if (load_[e] > seats_) reach(e, 0);
      return;
    }
    for (int64_t e = 0; e < E_; ++e) reach(e, loss_[node * E_ + e]);
    if (load_[node] <= seats_) reach(E_, 0);
  }

  // Moves one token along every edge between experts, then seats the new one.
  void follow(int64_t token, int64_t node) {
    for (int64_t from = before_[node]; from >= 0; node = from, from = before_[node]) {
      if (from == E_ || node == E_) continue;
      const int64_t moved = moves_[from * E_ + node].front().token;
      leave(moved, from);
      join(moved, node);
    }
    join(token, node);
  }

  void leave(int64_t token, int64_t from) {
    expert_[token] = -1;
    --load_[from];
    for (int64_t e = 0; e < E_; ++e) refresh(from, e);
  }

  void join(int64_t token, int64_t to) {
    expert_[token] = to;
    ++load_[to];
    for (int64_t e = 0; e < E_; ++e) {
      if (e == to) continue;
      auto& heap = moves_[to * E_ + e];
      heap.push_back({score(token, to) - score(token, e), token});
      std::push_heap(heap.begin(), heap.end(), later);
      loss_[to * E_ + e] = heap.front().loss;
    }
  }

  // Forgets tokens that left.
  void refresh(int64_t from, int64_t to) {
    auto& heap = moves_[from * E_ + to];
    while (!heap.empty() && expert_[heap.front().token] != from) {
      std::pop_heap(heap.begin(), heap.end(), later);
      heap.pop_back();
    }
    loss_[from * E_ + to] = heap.empty() ? kFar : heap.front().loss;
  }

  const double* scores_;
  int64_t E_, seats_, extra_seats_, extra_used_ = 0;
  std::vector<int64_t> expert_, load_;
  std::vector<double> price_;
  double seat_price_ = 0;
  std::vector<std::vector<Move>> moves_;  // [from, to]: a heap, the cheapest in front
  std::vector<double> loss_;              // [from, to]: the cheapest
  std::vector<double> distance_;
  std::vector<int64_t> before_;
  std::vector<bool> done_;
};

}  // namespace

at::Tensor balanced_assignment(const at::Tensor& scores_TE) {
  const at::Tensor scores =
      at::nan_to_num(scores_TE.detach().to(at::kCPU, at::kDouble), -1e30, 1e30, -1e30).contiguous();
  const int64_t T = scores.size(0), E = scores.size(1);
  Assignment assignment(scores.const_data_ptr<double>(), T, E);
  for (int64_t token = 0; token < T; ++token) assignment.enter(token);
  at::Tensor experts_T = at::empty({T}, at::TensorOptions().dtype(at::kLong));
  std::copy(assignment.experts().begin(), assignment.experts().end(),
            experts_T.mutable_data_ptr<int64_t>());
  return experts_T;
}

}  // namespace switchyard
