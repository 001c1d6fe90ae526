#include "tests/parallel/comm/conformance.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>

#include "core/base/error.h"
#include "tests/support/expect.h"

namespace switchyard {
namespace {

using c10::Device;
using Shape = std::vector<int64_t>;
using Tensors = Communicator::Tensors;

const std::vector<at::ScalarType> kDtypes = {at::kFloat, at::kDouble, at::kBFloat16,
                                             at::kLong,  at::kByte,   at::kBool};
const std::vector<Shape> kShapes = {{}, {0}, {1}, {13}, {3, 0}, {2, 5}, {5, 1, 7}};
/// More elements than any backend sends in one piece of a reduction.
constexpr int64_t kLarge = 150'001;

/// Small whole numbers that differ by rank and element, negative ones where the dtype has them.
at::Tensor values(at::ScalarType dtype, const Shape& shape, int64_t rank) {
  at::Tensor result = at::empty(shape, at::kDouble);
  double* value = result.mutable_data_ptr<double>();
  for (int64_t i = 0; i < result.numel(); ++i) {
    const int64_t n = (7 * (rank + 1) + 3 * i + rank * i) % 11;
    value[i] = static_cast<double>(dtype == at::kBool   ? n % 3 == 0
                                   : dtype == at::kByte ? n
                                                        : n - 5);
  }
  return result.to(dtype);
}

/// Numbers whose sum depends on the order of addition.
at::Tensor rough_values(at::ScalarType dtype, int64_t numel, int64_t rank) {
  at::Tensor result = at::empty({numel}, at::kDouble);
  double* value = result.mutable_data_ptr<double>();
  for (int64_t i = 0; i < numel; ++i) {
    const int64_t n = (i * 2654435761 + rank * 40503 + 12345) % 1000003;
    value[i] = (static_cast<double>(n) / 7.0 - 70000.0) * ((n % 5 == 0) ? 1e6 : 1e-3);
  }
  return result.to(dtype);
}

bool same(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.sizes() == b.sizes() &&
         at::equal(a.cpu(), b.cpu());
}

at::Tensor left_to_right(const std::vector<at::Tensor>& parts, ReduceOp op) {
  const at::ScalarType dtype = parts[0].scalar_type();
  at::Tensor result = at::empty(parts[0].sizes(), at::kDouble);
  for (int64_t i = 0; i < parts[0].numel(); ++i) {
    double total = 0;
    for (size_t r = 0; r < parts.size(); ++r) {
      const double value = parts[r].flatten()[i].to(at::kDouble).item<double>();
      if (r == 0)
        total = value;
      else if (op == ReduceOp::kMin)
        total = std::min(total, value);
      else if (op == ReduceOp::kMax)
        total = std::max(total, value);
      else
        total = dtype == at::kBool ? std::max(total, value) : total + value;
    }
    result.mutable_data_ptr<double>()[i] = total;
  }
  return result.to(dtype);
}

/// The float32 or float64 sum of the ranks' rough values, element by element from rank 0 up.
template <class T>
at::Tensor rough_sum(at::ScalarType dtype, int64_t numel, int64_t ranks) {
  const at::ScalarType wide = c10::CppTypeToScalarType<T>::value;
  at::Tensor sum = rough_values(dtype, numel, 0).to(wide);
  T* total = sum.mutable_data_ptr<T>();
  for (int64_t r = 1; r < ranks; ++r) {
    const at::Tensor part = rough_values(dtype, numel, r).to(wide);
    const T* value = part.const_data_ptr<T>();
    for (int64_t i = 0; i < numel; ++i) total[i] += value[i];
  }
  return sum.to(dtype);
}

void ranks_are_numbered(Communicator& comm, Device) {
  EXPECT(comm.size() >= 1);
  EXPECT(comm.rank() >= 0 && comm.rank() < comm.size());
  at::Tensor all = at::empty({comm.size()}, at::kLong);
  comm.all_gather({all}, {at::full({}, comm.rank(), at::kLong)})->wait();
  EXPECT(same(all, at::arange(comm.size(), at::kLong)));
  comm.barrier();
}

void broadcast_copies_the_root(Communicator& comm, Device device) {
  for (int root = 0; root < comm.size(); ++root) {
    for (const auto dtype : kDtypes) {
      Tensors tensors;
      for (const auto& shape : kShapes)
        tensors.push_back(values(dtype, shape, comm.rank()).to(device));
      comm.broadcast(tensors, root)->wait();
      for (size_t i = 0; i < tensors.size(); ++i)
        EXPECT(same(tensors[i], values(dtype, kShapes[i], root)), "dtype {}, shape {}, root {}",
               at::toString(dtype), i, root);
    }
  }
}

void broadcast_mixes_dtypes(Communicator& comm, Device device) {
  const int root = comm.size() - 1;
  Tensors tensors;
  for (const auto dtype : kDtypes) tensors.push_back(values(dtype, {3}, comm.rank()).to(device));
  tensors.push_back(values(at::kFloat, {kLarge}, comm.rank()).to(device));
  comm.broadcast(tensors, root)->wait();
  for (size_t i = 0; i < kDtypes.size(); ++i)
    EXPECT(same(tensors[i], values(kDtypes[i], {3}, root)));
  EXPECT(same(tensors.back(), values(at::kFloat, {kLarge}, root)));
  comm.broadcast({}, root)->wait();
}

void all_reduce_covers_dtypes_and_operations(Communicator& comm, Device device) {
  for (const auto op : {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax}) {
    Tensors tensors, expected;
    for (const auto dtype : kDtypes) {
      for (const auto& shape : kShapes) {
        std::vector<at::Tensor> parts;
        for (int r = 0; r < comm.size(); ++r) parts.push_back(values(dtype, shape, r));
        tensors.push_back(values(dtype, shape, comm.rank()).to(device));
        expected.push_back(left_to_right(parts, op));
      }
    }
    comm.all_reduce(tensors, op)->wait();
    for (size_t i = 0; i < tensors.size(); ++i)
      EXPECT(same(tensors[i], expected[i]), "dtype {}, shape {}, op {}",
             at::toString(tensors[i].scalar_type()), i % kShapes.size(), static_cast<int>(op));
  }
}

void sums_have_the_bits_of_rank_order(Communicator& comm, Device device) {
  for (const int64_t numel : {int64_t{1}, int64_t{7}, int64_t{1000}, kLarge}) {
    const auto dtypes = {at::kFloat, at::kDouble, at::kBFloat16};
    Tensors tensors, expected;
    for (const auto dtype : dtypes) {
      tensors.push_back(rough_values(dtype, numel, comm.rank()).to(device));
      expected.push_back(dtype == at::kDouble ? rough_sum<double>(dtype, numel, comm.size())
                                              : rough_sum<float>(dtype, numel, comm.size()));
    }
    comm.all_reduce(tensors, ReduceOp::kSum)->wait();
    for (size_t i = 0; i < tensors.size(); ++i)
      EXPECT(same(tensors[i], expected[i]), "dtype {}, {} elements",
             at::toString(tensors[i].scalar_type()), numel);
  }
}

void all_gather_stacks_the_ranks(Communicator& comm, Device device) {
  Tensors outputs, inputs;
  for (const auto dtype : kDtypes) {
    for (const auto& shape : kShapes) {
      Shape whole = shape;
      whole.insert(whole.begin(), comm.size());
      inputs.push_back(values(dtype, shape, comm.rank()).to(device));
      outputs.push_back(at::empty(whole, inputs.back().options()));
    }
  }
  comm.all_gather(outputs, inputs)->wait();
  for (size_t i = 0; i < outputs.size(); ++i) {
    for (int r = 0; r < comm.size(); ++r)
      EXPECT(
          same(outputs[i][r], values(kDtypes[i / kShapes.size()], kShapes[i % kShapes.size()], r)),
          "tensor {}, rank {}", i, r);
  }
}

void reduce_scatter_gives_each_rank_its_row(Communicator& comm, Device device) {
  Tensors outputs, inputs, expected;
  const int64_t n = comm.size();
  for (const auto dtype : kDtypes) {
    for (const auto& shape : kShapes) {
      Shape whole = shape;
      whole.insert(whole.begin(), n);
      inputs.push_back(values(dtype, whole, comm.rank()).to(device));
      outputs.push_back(at::empty(shape, inputs.back().options()));
      std::vector<at::Tensor> parts;
      for (int r = 0; r < n; ++r) parts.push_back(values(dtype, whole, r)[comm.rank()]);
      expected.push_back(left_to_right(parts, ReduceOp::kSum));
    }
  }
  inputs.push_back(rough_values(at::kFloat, n * kLarge, comm.rank()).view({n, kLarge}).to(device));
  outputs.push_back(at::empty({kLarge}, inputs.back().options()));
  expected.push_back(
      rough_sum<float>(at::kFloat, n * kLarge, n).view({n, kLarge})[comm.rank()].clone());
  comm.reduce_scatter(outputs, inputs)->wait();
  for (size_t i = 0; i < outputs.size(); ++i) EXPECT(same(outputs[i], expected[i]), "tensor {}", i);
}

/// Rows of a tensor that tell where they come from, where they go and which they are.
at::Tensor labelled_rows(at::ScalarType dtype, const Shape& row, int64_t from, int64_t to,
                         int64_t rows) {
  Shape shape = row;
  shape.insert(shape.begin(), rows);
  return values(dtype, shape, 5 * from + to);
}

void exchange_rows(Communicator& comm, Device device, int64_t (*rows)(int64_t from, int64_t to)) {
  const std::vector<std::pair<at::ScalarType, Shape>> kinds = {
      {at::kFloat, {3}}, {at::kDouble, {}}, {at::kBFloat16, {2, 2}}, {at::kLong, {}},
      {at::kByte, {5}},  {at::kBool, {1}},  {at::kFloat, {0}}};
  std::vector<int64_t> send_rows, receive_rows;
  for (int r = 0; r < comm.size(); ++r) {
    send_rows.push_back(rows(comm.rank(), r));
    receive_rows.push_back(rows(r, comm.rank()));
  }
  Tensors outputs, inputs, expected;
  for (const auto& [dtype, row] : kinds) {
    std::vector<at::Tensor> outgoing, incoming;
    for (int r = 0; r < comm.size(); ++r) {
      outgoing.push_back(labelled_rows(dtype, row, comm.rank(), r, send_rows[r]));
      incoming.push_back(labelled_rows(dtype, row, r, comm.rank(), receive_rows[r]));
    }
    inputs.push_back(at::cat(outgoing, 0).to(device));
    expected.push_back(at::cat(incoming, 0));
    outputs.push_back(at::empty(expected.back().sizes(), inputs.back().options()));
  }
  comm.all_to_all_v(outputs, inputs, receive_rows, send_rows)->wait();
  for (size_t i = 0; i < outputs.size(); ++i) EXPECT(same(outputs[i], expected[i]), "tensor {}", i);
}

void all_to_all_v_carries_uneven_rows(Communicator& comm, Device device) {
  exchange_rows(comm, device, [](int64_t from, int64_t to) { return (3 * from + 2 * to) % 4; });
  exchange_rows(comm, device, [](int64_t, int64_t) { return int64_t{0}; });
  exchange_rows(comm, device, [](int64_t from, int64_t) { return from == 0 ? int64_t{4} : 0; });
  exchange_rows(comm, device, [](int64_t, int64_t to) { return to == 0 ? int64_t{300} : 0; });
}

void collectives_finish_in_any_order_of_waits(Communicator& comm, Device device) {
  const int64_t n = comm.size();
  at::Tensor sum = at::full({kLarge}, comm.rank() + 1, at::kDouble).to(device);
  at::Tensor all = at::empty({n, 2}, at::TensorOptions(at::kLong).device(device));
  at::Tensor text = values(at::kByte, {9}, comm.rank()).to(device);
  WorkPtr first = comm.all_reduce({sum}, ReduceOp::kSum);
  WorkPtr second = comm.all_gather({all}, {values(at::kLong, {2}, comm.rank()).to(device)});
  WorkPtr third = comm.broadcast({text}, 0);
  const bool forwards = comm.rank() % 2 == 0;
  for (const auto& work : forwards ? std::vector{first.get(), second.get(), third.get()}
                                   : std::vector{third.get(), second.get(), first.get()})
    work->wait();
  EXPECT(same(sum, at::full({kLarge}, n * (n + 1) / 2, at::kDouble)));
  for (int r = 0; r < n; ++r) EXPECT(same(all[r], values(at::kLong, {2}, r)));
  EXPECT(same(text, values(at::kByte, {9}, 0)));
}

void a_collective_goes_on_while_its_ranks_do_other_things(Communicator& comm, Device device) {
  const int64_t n = comm.size();
  at::Tensor sum = at::full({kLarge}, comm.rank() + 1, at::kFloat).to(device);
  WorkPtr work = comm.all_reduce({sum}, ReduceOp::kSum);
  if (comm.rank() == 0) comm.barrier();
  work->wait();
  if (comm.rank() != 0) comm.barrier();
  EXPECT(same(sum, at::full({kLarge}, n * (n + 1) / 2, at::kFloat)));
}

void handles_wait_once_and_when_dropped(Communicator& comm, Device device) {
  at::Tensor one = at::full({kLarge}, 1.0, at::kFloat).to(device);
  WorkPtr work = comm.all_reduce({one}, ReduceOp::kSum);
  work->wait();
  one.fill_(1);
  work->wait();
  EXPECT(same(one, at::full({kLarge}, 1.0, at::kFloat)));
  comm.all_reduce({one}, ReduceOp::kSum).reset();
  EXPECT(same(one, at::full({kLarge}, comm.size(), at::kFloat)));
}

void repeated_sums_give_the_same_bits(Communicator& comm, Device device) {
  at::Tensor first;
  for (int round = 0; round < 3; ++round) {
    at::Tensor sum = rough_values(at::kFloat, kLarge, 17 * comm.rank()).to(device);
    comm.all_reduce({sum}, ReduceOp::kSum)->wait();
    if (round == 0) first = sum;
    EXPECT(same(sum, first));
  }
  at::Tensor all = at::empty({comm.size(), kLarge}, first.options());
  comm.all_gather({all}, {first})->wait();
  for (int r = 0; r < comm.size(); ++r) EXPECT(same(all[r], first), "rank {}", r);
}

void split_makes_groups_ordered_by_key(Communicator& comm, Device device) {
  const int n = comm.size(), color = comm.rank() % 2;
  const auto group = comm.split(color, -comm.rank());
  const int members = (n + 1 - color) / 2;
  EXPECT(group->size() == members);
  EXPECT(group->backend() == comm.backend());
  // Keys fall with the rank, so the order is reversed.
  EXPECT(group->rank() == members - 1 - comm.rank() / 2);
  at::Tensor all = at::empty({members}, at::TensorOptions(at::kLong).device(device));
  at::Tensor sum = at::full({kLarge}, comm.rank(), at::kLong).to(device);
  at::Tensor everyone = at::full({1}, 1, at::kLong).to(device);
  WorkPtr work_all = group->all_gather({all}, {at::full({}, comm.rank(), at::kLong).to(device)});
  WorkPtr work_everyone = comm.all_reduce({everyone}, ReduceOp::kSum);
  group->all_reduce({sum}, ReduceOp::kSum)->wait();
  work_everyone->wait();
  work_all->wait();
  int64_t expected = 0;
  for (int i = 0; i < members; ++i) {
    const int64_t rank = color + 2 * (members - 1 - i);
    EXPECT(all.cpu()[i].item<int64_t>() == rank);
    expected += rank;
  }
  EXPECT(same(sum, at::full({kLarge}, expected, at::kLong)));
  EXPECT(everyone.item<int64_t>() == n);

  const auto alone = group->split(group->rank(), 0);
  EXPECT(alone->size() == 1 && alone->rank() == 0);
  at::Tensor mine = at::full({2}, comm.rank(), at::kFloat).to(device);
  alone->all_reduce({mine}, ReduceOp::kSum)->wait();
  EXPECT(same(mine, at::full({2}, comm.rank(), at::kFloat)));
}

void messages_travel_around_a_ring(Communicator& comm, Device device) {
  const int next = (comm.rank() + 1) % comm.size();
  const int previous = (comm.rank() + comm.size() - 1) % comm.size();
  Tensors mine = {values(at::kFloat, {kLarge}, comm.rank()).to(device),
                  values(at::kLong, {0}, comm.rank()).to(device),
                  values(at::kBool, {2, 3}, comm.rank()).to(device)};
  Tensors received;
  for (const auto& tensor : mine) received.push_back(at::zeros_like(tensor));
  WorkPtr receive = comm.receive(received, previous, 4);
  WorkPtr send = comm.send(mine, next, 4);
  receive->wait();
  send->wait();
  EXPECT(same(received[0], values(at::kFloat, {kLarge}, previous)));
  EXPECT(same(received[2], values(at::kBool, {2, 3}, previous)));
}

void messages_match_by_tag_then_by_order(Communicator& comm, Device device) {
  if (device.is_cuda()) return;  // NCCL knows no tags: messages match by order alone.
  const int next = (comm.rank() + 1) % comm.size();
  const int previous = (comm.rank() + comm.size() - 1) % comm.size();
  const auto number = [&](int64_t value) { return at::full({1}, value, at::kLong); };
  WorkPtr a = comm.send({number(10)}, next, 1);
  WorkPtr b = comm.send({number(20)}, next, 2);
  WorkPtr c = comm.send({number(11)}, next, 1);
  at::Tensor x = number(0), y = number(0), z = number(0);
  comm.receive({x}, previous, 2)->wait();
  comm.receive({y}, previous, 1)->wait();
  comm.receive({z}, previous, 1)->wait();
  a->wait();
  b->wait();
  c->wait();
  EXPECT(x.item<int64_t>() == 20 && y.item<int64_t>() == 10 && z.item<int64_t>() == 11);
}

/// The call throws CommError, whose text holds the rank, the operation and `part`.
template <class Call>
void expect_refused(Communicator& comm, const std::string& operation, const std::string& part,
                    Call call) {
  std::string text = "nothing was thrown";
  try {
    call();
  } catch (const CommError& error) {
    text = error.what();
  }
  for (const auto& wanted :
       {fmt::format("rank {} of {}", comm.rank(), comm.size()), operation, part})
    EXPECT(text.find(wanted) != std::string::npos, "{} is not in: {}", wanted, text);
}

void wrong_arguments_are_refused(Communicator& comm, Device device) {
  const int64_t n = comm.size();
  const auto floats = at::TensorOptions(at::kFloat).device(device);
  const at::Tensor good = at::zeros({2, 3}, floats);
  expect_refused(comm, "all_reduce", "not contiguous",
                 [&] { comm.all_reduce({good.t()}, ReduceOp::kSum); });
  expect_refused(comm, "all_reduce", "tensor 1 is undefined", [&] {
    comm.all_reduce({good, at::Tensor()}, ReduceOp::kSum);
  });
  expect_refused(comm, "broadcast", "Half", [&] { comm.broadcast({good.to(at::kHalf)}, 0); });
  expect_refused(comm, "broadcast", "allowed: 0 to", [&] { comm.broadcast({good}, comm.size()); });
  expect_refused(comm, "all_gather", "one row", [&] { comm.all_gather({good}, {good}); });
  expect_refused(comm, "all_gather", "0 output tensors for 1",
                 [&] { comm.all_gather({}, {good}); });
  expect_refused(comm, "reduce_scatter", "one row", [&] {
    comm.reduce_scatter({good}, {at::zeros({n + 1, 2, 3}, floats)});
  });
  const std::vector<int64_t> none(static_cast<size_t>(n), 0);
  std::vector<int64_t> negative = none;
  negative[0] = -1;
  expect_refused(comm, "all_to_all_v", "2, 3", [&] {
    comm.all_to_all_v({at::zeros({0, 3}, floats)}, {good}, none, none);
  });
  expect_refused(comm, "all_to_all_v", "-1", [&] {
    comm.all_to_all_v({at::zeros({0, 3}, floats)}, {at::zeros({0, 3}, floats)}, negative, none);
  });
  expect_refused(comm, "all_to_all_v", "rows need one shape", [&] {
    comm.all_to_all_v({at::zeros({0, 4}, floats)}, {at::zeros({0, 3}, floats)}, none, none);
  });
  expect_refused(comm, "send", "does not exist", [&] { comm.send({good}, -1, 0); });
  expect_refused(comm, "receive", "tag -3", [&] { comm.receive({good}, 0, -3); });
}

void rows_are_gathered_in_rank_order(Communicator& comm, Device device) {
  for (const auto dtype : kDtypes) {
    std::vector<at::Tensor> parts;
    for (int r = 0; r < comm.size(); ++r)
      parts.push_back(labelled_rows(dtype, {2}, r, 0, (2 * r) % 5));
    const at::Tensor gathered = gather_rows(comm, parts[comm.rank()].to(device));
    EXPECT(same(gathered, at::cat(parts, 0)), "dtype {}", at::toString(dtype));
  }
  const at::Tensor nothing = gather_rows(comm, at::zeros({0, 4}).to(device));
  EXPECT(nothing.sizes() == Shape({0, 4}));
}

void texts_travel_whole(Communicator& comm, Device) {
  const std::string text = "Straße \n with\0a zero";
  for (int root = 0; root < comm.size(); ++root) {
    EXPECT(broadcast_text(comm, comm.rank() == root ? text : "other", root) == text);
    EXPECT(broadcast_text(comm, comm.rank() == root ? "" : "other", root).empty());
  }
}

void the_lowest_error_ends_all_ranks(Communicator& comm, Device) {
  agree_on_error(comm, "", 2);
  const int lowest = comm.size() / 2;
  const std::string mine =
      comm.rank() >= lowest ? fmt::format("[data] from rank {}", comm.rank()) : "";
  try {
    agree_on_error(comm, mine, comm.rank() == lowest ? 4 : 3);
  } catch (const Error& error) {
    EXPECT(error.what() == fmt::format("[data] from rank {}", lowest), "{}", error.what());
    EXPECT(error.code() == ExitCode::kIoFailure);
    return;
  }
  EXPECT(false, "agree_on_error returned");
}

void inputs_may_need_gradients(Communicator& comm, Device device) {
  const at::Tensor input = values(at::kFloat, {4}, comm.rank()).to(device).requires_grad_();
  at::Tensor all = at::empty({comm.size(), 4}, at::TensorOptions(at::kFloat).device(device));
  comm.all_gather({all}, {input})->wait();
  EXPECT(!all.requires_grad());
  for (int r = 0; r < comm.size(); ++r) EXPECT(same(all[r], values(at::kFloat, {4}, r)));
}

}  // namespace

const std::vector<ConformanceCase>& conformance_cases() {
#define CASE(function) \
  { #function, function }
  static const std::vector<ConformanceCase> cases = {
      CASE(ranks_are_numbered),
      CASE(broadcast_copies_the_root),
      CASE(broadcast_mixes_dtypes),
      CASE(all_reduce_covers_dtypes_and_operations),
      CASE(sums_have_the_bits_of_rank_order),
      CASE(all_gather_stacks_the_ranks),
      CASE(reduce_scatter_gives_each_rank_its_row),
      CASE(all_to_all_v_carries_uneven_rows),
      CASE(collectives_finish_in_any_order_of_waits),
      CASE(a_collective_goes_on_while_its_ranks_do_other_things),
      CASE(handles_wait_once_and_when_dropped),
      CASE(repeated_sums_give_the_same_bits),
      CASE(split_makes_groups_ordered_by_key),
      CASE(messages_travel_around_a_ring),
      CASE(messages_match_by_tag_then_by_order),
      CASE(wrong_arguments_are_refused),
      CASE(rows_are_gathered_in_rank_order),
      CASE(texts_travel_whole),
      CASE(the_lowest_error_ends_all_ranks),
      CASE(inputs_may_need_gradients),
  };
#undef CASE
  return cases;
}

std::vector<std::string> run_conformance(Communicator& comm, c10::Device device) {
  std::vector<std::string> failures;
  for (const auto& test : conformance_cases()) {
    std::string text;
    try {
      test.run(comm, device);
    } catch (const std::exception& error) {
      text = fmt::format("{}: rank {}: {}", test.name, comm.rank(), error.what());
    }
    try {
      agree_on_error(comm, text, 70);
    } catch (const Error& error) {
      failures.push_back(error.what());
    }
  }
  return failures;
}

}  // namespace switchyard
