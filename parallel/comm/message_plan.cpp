#include "parallel/comm/message_plan.h"

#include <ATen/ops/empty.h>

#include "parallel/comm/ordered_reduce.h"

namespace switchyard {
namespace {

using Tensors = Communicator::Tensors;

constexpr int64_t kSmallBytes = 32 << 10;

bool is_small(const at::Tensor& tensor) {
  return tensor.numel() * static_cast<int64_t>(tensor.element_size()) <= kSmallBytes;
}

at::Tensor slice(const at::Tensor& flat, int64_t r, int64_t size) {
  const int64_t begin = flat.numel() * r / size, end = flat.numel() * (r + 1) / size;
  return flat.narrow(0, begin, end - begin);
}

at::Tensor flatten(const at::Tensor& tensor) {
  return tensor.detach().view({-1});
}

template <class Function>
void for_others(Place place, Function function) {
  for (int r = 0; r < place.size; ++r) {
    if (r != place.rank) function(r);
  }
}

/// Appends to `stage.then`.
void and_then(Stage& stage, std::function<void()> more) {
  if (!stage.then) {
    stage.then = std::move(more);
    return;
  }
  stage.then = [first = std::move(stage.then), second = std::move(more)] {
    first();
    second();
  };
}

/// Receives the other ranks' form of `mine` and leaves the reduction in `output`.
void collect_and_reduce(Place place, Stage& stage, const at::Tensor& output, const at::Tensor& mine,
                        ReduceOp op) {
  std::vector<at::Tensor> parts(static_cast<size_t>(place.size), mine);
  for_others(place, [&](int r) {
    parts[static_cast<size_t>(r)] = at::empty(mine.sizes(), mine.options());
    stage.receives.push_back({r, parts[static_cast<size_t>(r)]});
  });
  and_then(stage, [=] { reduce_in_order(output, parts, op); });
}

}  // namespace

Stages plan_broadcast(Place place, const Tensors& tensors, int root) {
  Stages stages(2);
  const bool is_root = place.rank == root;
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor flat = flatten(tensor);
    if (is_small(flat)) {
      if (is_root) for_others(place, [&](int r) { stages[0].sends.push_back({r, flat}); });
      if (!is_root) stages[0].receives.push_back({root, flat});
      continue;
    }
    const auto part = [&](int r) { return slice(flat, r, place.size); };
    if (is_root) for_others(place, [&](int r) { stages[0].sends.push_back({r, part(r)}); });
    if (!is_root) stages[0].receives.push_back({root, part(place.rank)});
    for_others(place, [&](int r) {
      if (r != root) stages[1].sends.push_back({r, part(place.rank)});
      if (!is_root) stages[1].receives.push_back({r, part(r)});
    });
  }
  return stages;
}

Stages plan_all_reduce(Place place, const Tensors& tensors, ReduceOp op) {
  if (place.size == 1) return {};
  Stages stages(2);
  for (const at::Tensor& tensor : tensors) {
    const at::Tensor flat = flatten(tensor);
    if (is_small(flat)) {
      for_others(place, [&](int r) { stages[0].sends.push_back({r, flat}); });
      collect_and_reduce(place, stages[0], flat, flat, op);
      continue;
    }
    const at::Tensor mine = slice(flat, place.rank, place.size);
    for_others(place, [&](int r) {
      stages[0].sends.push_back({r, slice(flat, r, place.size)});
      stages[1].sends.push_back({r, mine});
      stages[1].receives.push_back({r, slice(flat, r, place.size)});
    });
    collect_and_reduce(place, stages[0], mine, mine, op);
  }
  return stages;
}

Stages plan_all_gather(Place place, const Tensors& outputs, const Tensors& inputs) {
  Stages stages(1);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const at::Tensor output = outputs[i].detach(), input = inputs[i].detach();
    for_others(place, [&](int r) {
      stages[0].sends.push_back({r, input});
      stages[0].receives.push_back({r, output[r]});
    });
    and_then(stages[0], [=] { output[place.rank].copy_(input); });
  }
  return stages;
}

Stages plan_reduce_scatter(Place place, const Tensors& outputs, const Tensors& inputs) {
  Stages stages(1);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const at::Tensor input = inputs[i].detach();
    for_others(place, [&](int r) { stages[0].sends.push_back({r, input[r]}); });
    collect_and_reduce(place, stages[0], outputs[i].detach(), input[place.rank], ReduceOp::kSum);
  }
  return stages;
}

Stages plan_all_to_all_v(Place place, const Tensors& outputs, const Tensors& inputs,
                         const std::vector<int64_t>& receive_rows,
                         const std::vector<int64_t>& send_rows) {
  Stages stages(1);
  for (size_t i = 0; i < outputs.size(); ++i) {
    const at::Tensor output = outputs[i].detach(), input = inputs[i].detach();
    int64_t first_in = 0, first_out = 0;
    for (int r = 0; r < place.size; ++r) {
      const auto peer = static_cast<size_t>(r);
      const at::Tensor out = output.narrow(0, first_out, receive_rows[peer]);
      const at::Tensor in = input.narrow(0, first_in, send_rows[peer]);
      first_out += receive_rows[peer];
      first_in += send_rows[peer];
      if (r == place.rank) {
        and_then(stages[0], [=] { out.copy_(in); });
      } else {
        stages[0].sends.push_back({r, in});
        stages[0].receives.push_back({r, out});
      }
    }
  }
  return stages;
}

}  // namespace switchyard
