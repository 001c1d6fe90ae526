#include "parallel/comm/thread_communicator.h"

#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <map>
#include <mutex>
#include <thread>
#include <tuple>

#include "core/base/collective_checks.h"
#include "core/base/error.h"
#include "parallel/comm/ordered_reduce.h"

namespace switchyard {
namespace {

using Tensors = Communicator::Tensors;

/// Thrown out of a collective that can never complete because of another rank.
class RanksStopped final : public CommError {
 public:
  using CommError::CommError;
};

struct Group;

/// One rank's part in an operation.
struct Call {
  Tensors outputs, inputs;
  std::vector<int64_t> receive_rows, send_rows;
  int color = 0, key = 0;
  std::shared_ptr<Group> group;  ///< result of a split
  int rank_there = 0;
};

struct Operation {
  std::string name;  ///< with the parameters that all ranks must agree on
  std::vector<Call> calls;
  size_t arrived = 0;
  bool done = false;
  std::string error;
  int waiting = 0;  ///< ranks asleep until `done`
};
using OperationPtr = std::shared_ptr<Operation>;

/// What the threads of one run_ranks share. Every member of World, Group and Operation is guarded
/// by `mutex`, but for the calls of an operation whose last rank is executing it.
struct World {
  explicit World(int size) : running(size), waits_for(static_cast<size_t>(size)) {}

  void fail(const std::string& text) {
    if (failure.empty()) failure = text;
    changed.notify_all();
  }

  /// A rank falls asleep or ends. When no rank is left running, nobody can end the waits.
  void stop_running() {
    if (--running > 0) return;
    std::string text;
    for (size_t r = 0; r < waits_for.size(); ++r) {
      if (!waits_for[r].empty())
        text += fmt::format("{}rank {} in {}", text.empty() ? "" : ", ", r, waits_for[r]);
    }
    if (!text.empty()) fail("no rank is left to end these waits: " + text);
  }

  void finish(Operation& operation) {
    operation.done = true;
    running += operation.waiting;
    operation.waiting = 0;
    changed.notify_all();
  }

  std::mutex mutex;
  std::condition_variable changed;
  int running;                         ///< ranks that neither sleep nor have ended
  std::vector<std::string> waits_for;  ///< by world rank; empty while it runs
  std::string failure;                 ///< why nothing can go on
};

struct Group {
  explicit Group(std::vector<int> ranks)
      : world_ranks(std::move(ranks)), started(world_ranks.size(), 0) {}

  std::vector<int> world_ranks;
  std::vector<uint64_t> started;  ///< by rank: collectives started so far
  std::map<uint64_t, OperationPtr> open;
  struct Mailbox {
    std::deque<Tensors> messages;
    std::deque<OperationPtr> receivers;
  };
  std::map<std::tuple<int, int, int>, Mailbox> mail;  ///< by (from, to, tag)
};

class ThreadWork final : public Work {
 public:
  ThreadWork(std::shared_ptr<World> world, int world_rank, OperationPtr operation)
      : world_(std::move(world)), world_rank_(world_rank), operation_(std::move(operation)) {}

  ~ThreadWork() override {
    try {
      wait();
    } catch (const std::exception&) {
      // The rank that broke the collective reports why.
    }
  }

  void wait() override {
    if (!operation_) return;
    const OperationPtr operation = std::move(operation_);
    std::unique_lock lock(world_->mutex);
    if (!operation->done) {
      ++operation->waiting;
      world_->waits_for[world_rank_] = operation->name;
      world_->stop_running();
      world_->changed.wait(lock, [&] { return operation->done || !world_->failure.empty(); });
      world_->waits_for[world_rank_].clear();
    }
    if (!operation->done)
      throw RanksStopped(
          fmt::format("rank {}, {} (thread): {}", world_rank_, operation->name, world_->failure));
    if (!operation->error.empty()) throw CommError(operation->error);
  }

 private:
  std::shared_ptr<World> world_;
  int world_rank_;
  OperationPtr operation_;
};

void copy_flat(const at::Tensor& output, const at::Tensor& input) {
  output.copy_(input.view(output.sizes()));
}

/// The same list of tensors, by number, size and dtype, on two ranks.
void check_same_tensors(const Tensors& a, const Tensors& b, size_t rank_a, size_t rank_b) {
  if (a.size() != b.size())
    throw CommError(
        fmt::format("rank {} passes {} tensors, rank {} {}", rank_a, a.size(), rank_b, b.size()));
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i].numel() != b[i].numel() || a[i].scalar_type() != b[i].scalar_type())
      throw CommError(fmt::format("tensor {} has {} elements of {} on rank {}, {} of {} on rank {}",
                                  i, a[i].numel(), at::toString(a[i].scalar_type()), rank_a,
                                  b[i].numel(), at::toString(b[i].scalar_type()), rank_b));
  }
}

void check_same_inputs(const std::vector<Call>& calls) {
  for (size_t r = 1; r < calls.size(); ++r)
    check_same_tensors(calls[0].inputs, calls[r].inputs, 0, r);
}

std::vector<at::Tensor> of_all_ranks(const std::vector<Call>& calls, size_t tensor) {
  std::vector<at::Tensor> result;
  for (const Call& call : calls) result.push_back(call.inputs[tensor]);
  return result;
}

void do_broadcast(std::vector<Call>& calls, size_t root) {
  check_same_inputs(calls);
  for (size_t r = 0; r < calls.size(); ++r) {
    if (r == root) continue;
    for (size_t i = 0; i < calls[r].inputs.size(); ++i)
      copy_flat(calls[r].inputs[i], calls[root].inputs[i]);
  }
}

void do_all_reduce(std::vector<Call>& calls, ReduceOp op) {
  check_same_inputs(calls);
  for (size_t i = 0; i < calls[0].inputs.size(); ++i) {
    reduce_in_order(calls[0].inputs[i], of_all_ranks(calls, i), op);
    for (size_t r = 1; r < calls.size(); ++r) copy_flat(calls[r].inputs[i], calls[0].inputs[i]);
  }
}

void do_all_gather(std::vector<Call>& calls) {
  check_same_inputs(calls);
  for (const Call& call : calls) {
    for (size_t i = 0; i < call.outputs.size(); ++i) {
      for (size_t r = 0; r < calls.size(); ++r)
        call.outputs[i][static_cast<int64_t>(r)].copy_(
            calls[r].inputs[i].view(call.inputs[i].sizes()));
    }
  }
}

void do_reduce_scatter(std::vector<Call>& calls) {
  check_same_inputs(calls);
  for (size_t r = 0; r < calls.size(); ++r) {
    for (size_t i = 0; i < calls[r].outputs.size(); ++i) {
      std::vector<at::Tensor> rows;
      for (const Call& call : calls)
        rows.push_back(call.inputs[i].view(calls[r].inputs[i].sizes())[static_cast<int64_t>(r)]);
      reduce_in_order(calls[r].outputs[i], rows, ReduceOp::kSum);
    }
  }
}

int64_t sum_before(const std::vector<int64_t>& rows, size_t end) {
  int64_t sum = 0;
  for (size_t i = 0; i < end; ++i) sum += rows[i];
  return sum;
}

void do_all_to_all_v(std::vector<Call>& calls) {
  for (size_t to = 0; to < calls.size(); ++to) {
    for (size_t from = 0; from < calls.size(); ++from) {
      const int64_t sent = calls[from].send_rows[to];
      const int64_t expected = calls[to].receive_rows[from];
      if (sent != expected || calls[from].inputs.size() != calls[to].outputs.size())
        throw CommError(fmt::format(
            "rank {} sends {} rows of {} tensors to rank {}, which expects "
            "{} rows of {}",
            from, sent, calls[from].inputs.size(), to, expected, calls[to].outputs.size()));
      Tensors outputs, inputs;
      for (size_t i = 0; i < calls[to].outputs.size(); ++i) {
        outputs.push_back(
            calls[to].outputs[i].narrow(0, sum_before(calls[to].receive_rows, from), expected));
        inputs.push_back(
            calls[from].inputs[i].narrow(0, sum_before(calls[from].send_rows, to), sent));
      }
      check_same_tensors(inputs, outputs, from, to);
      for (size_t i = 0; i < outputs.size(); ++i) copy_flat(outputs[i], inputs[i]);
    }
  }
}

void do_split(std::vector<Call>& calls, const std::vector<int>& world_ranks) {
  std::map<int, std::vector<std::pair<int, size_t>>> members;
  for (size_t r = 0; r < calls.size(); ++r) members[calls[r].color].emplace_back(calls[r].key, r);
  for (auto& [color, ranks] : members) {
    std::sort(ranks.begin(), ranks.end());
    std::vector<int> of_world;
    for (const auto& [key, r] : ranks) of_world.push_back(world_ranks[r]);
    const auto group = std::make_shared<Group>(std::move(of_world));
    for (size_t i = 0; i < ranks.size(); ++i) {
      calls[ranks[i].second].group = group;
      calls[ranks[i].second].rank_there = static_cast<int>(i);
    }
  }
}

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<World> world, std::shared_ptr<Group> group, int rank)
      : world_(std::move(world)), group_(std::move(group)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(group_->world_ranks.size()); }
  std::string backend() const override { return "thread"; }

  std::unique_ptr<Communicator> split(int color, int key) override {
    Call call;
    call.color = color;
    call.key = key;
    const OperationPtr operation =
        start("split", std::move(call),
              [this](std::vector<Call>& calls) { do_split(calls, group_->world_ranks); });
    work(operation)->wait();
    const Call& mine = operation->calls[static_cast<size_t>(rank_)];
    return std::make_unique<ThreadCommunicator>(world_, mine.group, mine.rank_there);
  }

  void barrier() override {
    work(start("barrier", {}, [](std::vector<Call>&) {}))->wait();
  }

  WorkPtr broadcast(Tensors tensors, int root) override {
    check_peer(*this, "broadcast", root);
    check_tensors(*this, "broadcast", tensors);
    return work(start(
        fmt::format("broadcast from rank {}", root), {.inputs = std::move(tensors)},
        [root](std::vector<Call>& calls) { do_broadcast(calls, static_cast<size_t>(root)); }));
  }

  WorkPtr all_reduce(Tensors tensors, ReduceOp op) override {
    check_tensors(*this, "all_reduce", tensors);
    static constexpr const char* kNames[] = {"all_reduce (sum)", "all_reduce (min)",
                                             "all_reduce (max)"};
    return work(start(kNames[static_cast<int>(op)], {.inputs = std::move(tensors)},
                      [op](std::vector<Call>& calls) { do_all_reduce(calls, op); }));
  }

  WorkPtr all_gather(Tensors outputs, Tensors inputs) override {
    check_whole_and_part(*this, "all_gather", outputs, inputs);
    return work(start("all_gather", {.outputs = std::move(outputs), .inputs = std::move(inputs)},
                      do_all_gather));
  }

  WorkPtr reduce_scatter(Tensors outputs, Tensors inputs) override {
    check_whole_and_part(*this, "reduce_scatter", inputs, outputs);
    return work(start("reduce_scatter",
                      {.outputs = std::move(outputs), .inputs = std::move(inputs)},
                      do_reduce_scatter));
  }

  WorkPtr all_to_all_v(Tensors outputs, Tensors inputs, std::vector<int64_t> receive_rows,
                       std::vector<int64_t> send_rows) override {
    check_all_to_all_v(*this, outputs, inputs, receive_rows, send_rows);
    return work(start("all_to_all_v",
                      {.outputs = std::move(outputs),
                       .inputs = std::move(inputs),
                       .receive_rows = std::move(receive_rows),
                       .send_rows = std::move(send_rows)},
                      do_all_to_all_v));
  }

  WorkPtr send(Tensors tensors, int to, int tag) override {
    check_peer(*this, "send", to);
    check_tag(*this, "send", tag);
    check_tensors(*this, "send", tensors);
    for (auto& tensor : tensors) tensor = tensor.detach().clone();
    std::lock_guard lock(world_->mutex);
    auto& mailbox = group_->mail[{rank_, to, tag}];
    if (mailbox.receivers.empty()) {
      mailbox.messages.push_back(std::move(tensors));
      return finished_work();
    }
    const OperationPtr receiver = mailbox.receivers.front();
    mailbox.receivers.pop_front();
    deliver(*receiver, tensors);
    return finished_work();
  }

  WorkPtr receive(Tensors tensors, int from, int tag) override {
    check_peer(*this, "receive", from);
    check_tag(*this, "receive", tag);
    check_tensors(*this, "receive", tensors);
    auto operation = std::make_shared<Operation>();
    operation->name = fmt::format("receive from rank {}", from);
    operation->calls.push_back({.outputs = std::move(tensors)});
    std::lock_guard lock(world_->mutex);
    auto& mailbox = group_->mail[{from, rank_, tag}];
    if (mailbox.messages.empty()) {
      mailbox.receivers.push_back(operation);
    } else {
      deliver(*operation, mailbox.messages.front());
      mailbox.messages.pop_front();
    }
    return work(operation);
  }

 private:
  int world_rank() const { return group_->world_ranks[static_cast<size_t>(rank_)]; }

  WorkPtr work(OperationPtr operation) const {
    return std::make_unique<ThreadWork>(world_, world_rank(), std::move(operation));
  }

  /// Adds this rank's call to the group's next operation; the last rank to come executes it.
  template <class Execute>
  OperationPtr start(const std::string& name, Call call, Execute execute) {
    OperationPtr operation;
    {
      std::lock_guard lock(world_->mutex);
      if (!world_->failure.empty())
        throw RanksStopped(
            fmt::format("rank {}, {} (thread): {}", world_rank(), name, world_->failure));
      const auto rank = static_cast<size_t>(rank_);
      const uint64_t number = group_->started[rank]++;
      OperationPtr& slot = group_->open[number];
      if (!slot) {
        slot = std::make_shared<Operation>();
        slot->name = name;
        slot->calls.resize(group_->world_ranks.size());
      }
      operation = slot;
      if (operation->name != name)
        fail_collective(*this, name, fmt::format("another rank calls {} here", operation->name));
      operation->calls[rank] = std::move(call);
      if (++operation->arrived < operation->calls.size()) return operation;
      group_->open.erase(number);
    }
    try {
      at::NoGradGuard no_grad;
      execute(operation->calls);
    } catch (const std::exception& error) {
      operation->error = fmt::format("{} (thread): {}", name, error.what());
    }
    std::lock_guard lock(world_->mutex);
    world_->finish(*operation);
    return operation;
  }

  void deliver(Operation& receiver, const Tensors& message) {
    try {
      at::NoGradGuard no_grad;
      const Tensors& outputs = receiver.calls[0].outputs;
      check_same_tensors(message, outputs, static_cast<size_t>(rank_), static_cast<size_t>(rank_));
      for (size_t i = 0; i < outputs.size(); ++i) copy_flat(outputs[i], message[i]);
    } catch (const std::exception& error) {
      receiver.error = fmt::format("{} (thread): {}", receiver.name, error.what());
    }
    world_->finish(receiver);
  }

  std::shared_ptr<World> world_;
  std::shared_ptr<Group> group_;
  int rank_;
};

/// How one rank's thread ended.
struct Outcome {
  std::exception_ptr error;
  bool by_itself = false;  ///< not merely because another rank stopped
};

void run_rank(ThreadCommunicator& comm, World& world,
              const std::function<void(Communicator&)>& body, Outcome& outcome) {
  std::string text;
  try {
    body(comm);
  } catch (const RanksStopped&) {
    outcome.error = std::current_exception();
  } catch (const std::exception& error) {
    outcome = {std::current_exception(), true};
    text = error.what();
  } catch (...) {
    outcome = {std::current_exception(), true};
    text = "unknown error";
  }
  std::lock_guard lock(world.mutex);
  if (outcome.by_itself) world.fail(fmt::format("rank {} stopped: {}", comm.rank(), text));
  world.stop_running();
}

}  // namespace

void run_ranks(int n, const std::function<void(Communicator&)>& body) {
  SWITCHYARD_CHECK(n >= 1, "{} ranks", n);
  const int threads_here = at::get_num_threads();
  const int threads_per_rank = std::max(1, threads_here / n);
  auto world = std::make_shared<World>(n);
  std::vector<int> ranks;
  for (int r = 0; r < n; ++r) ranks.push_back(r);
  const auto group = std::make_shared<Group>(std::move(ranks));
  std::vector<Outcome> outcomes(static_cast<size_t>(n));
  std::vector<std::thread> threads;
  for (int r = 0; r < n; ++r) {
    threads.emplace_back([&, r] {
      at::set_num_threads(threads_per_rank);
      ThreadCommunicator comm(world, group, r);
      run_rank(comm, *world, body, outcomes[static_cast<size_t>(r)]);
    });
  }
  for (auto& thread : threads) thread.join();
  // A rank's setting also became the default of threads started later.
  at::set_num_threads(threads_here);
  const auto first = [&](auto wanted) {
    const auto found = std::find_if(outcomes.begin(), outcomes.end(), wanted);
    if (found != outcomes.end()) std::rethrow_exception(found->error);
  };
  first([](const Outcome& outcome) { return outcome.by_itself; });
  first([](const Outcome& outcome) { return outcome.error != nullptr; });
}

}  // namespace switchyard
