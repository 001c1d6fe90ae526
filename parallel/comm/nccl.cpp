#include "parallel/comm/nccl.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/cuda/CUDAGuard.h>
#include <c10/cuda/CUDAStream.h>
#include <nccl.h>

#include <cstring>
#include <exception>

#include "core/base/collective_checks.h"
#include "core/base/error.h"
#include "parallel/comm/message_plan.h"

namespace switchyard {
namespace {

using Tensors = Communicator::Tensors;

void check_nccl(ncclResult_t code, const std::string& who, ncclComm_t comm = nullptr) {
  if (code != ncclSuccess && code != ncclInProgress)
    throw CommError(
        fmt::format("{} (nccl): {}; {}", who, ncclGetErrorString(code), ncclGetLastError(comm)));
}

/// NCCL's side of one group: its communicator and the stream that its messages use.
class Channel {
 public:
  Channel(Communicator& host, c10::Device device)
      : device_(device), stream_(c10::cuda::getStreamFromPool(false, device.index())) {
    const c10::cuda::CUDAGuard guard(device_);
    ncclUniqueId id;
    if (host.rank() == 0) check_nccl(ncclGetUniqueId(&id), "ncclGetUniqueId");
    at::Tensor bytes = at::empty({static_cast<int64_t>(sizeof id)}, at::kByte);
    std::memcpy(bytes.mutable_data_ptr(), &id, sizeof id);
    host.broadcast({bytes}, 0)->wait();
    std::memcpy(&id, bytes.const_data_ptr(), sizeof id);
    check_nccl(ncclCommInitRank(&comm_, host.size(), id, host.rank()),
               fmt::format("rank {} of {}, start on {}", host.rank(), host.size(), device_.str()));
  }
  /// While an error unwinds, messages may lack their partner: waiting for them would hang.
  ~Channel() { std::uncaught_exceptions() > 0 ? ncclCommAbort(comm_) : ncclCommDestroy(comm_); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  c10::Device device() const { return device_; }

  /// Queues the planned stages behind the current stream's work. `make_plan` allocates its scratch
  /// on the channel's own stream, so that the scratch may be reused without waiting for another.
  template <class MakePlan>
  c10::Event carry(const std::string& who, const Tensors& tensors, MakePlan make_plan) {
    ncclResult_t state = ncclSuccess;
    check_nccl(ncclCommGetAsyncError(comm_, &state), who, comm_);
    check_nccl(state, who, comm_);
    c10::Event before(c10::kCUDA);
    before.record(c10::cuda::getCurrentCUDAStream(device_.index()).unwrap());
    before.block(stream_.unwrap());
    const c10::cuda::CUDAStreamGuard guard(stream_);
    const at::NoGradGuard no_grad;
    for (const at::Tensor& tensor : tensors) tensor.record_stream(stream_.unwrap());
    const Stages stages = make_plan();
    for (const Stage& stage : stages) {
      exchange(who, stage);
      if (stage.then) stage.then();
    }
    c10::Event after(c10::kCUDA);
    after.record(stream_.unwrap());
    return after;
  }

 private:
  void exchange(const std::string& who, const Stage& stage) {
    check_nccl(ncclGroupStart(), who, comm_);
    for (const Message& message : stage.sends) {
      if (message.data.nbytes() > 0)
        check_nccl(ncclSend(message.data.const_data_ptr(), message.data.nbytes(), ncclUint8,
                            message.peer, comm_, stream_.stream()),
                   who, comm_);
    }
    for (const Message& message : stage.receives) {
      if (message.data.nbytes() > 0)
        check_nccl(ncclRecv(message.data.mutable_data_ptr(), message.data.nbytes(), ncclUint8,
                            message.peer, comm_, stream_.stream()),
                   who, comm_);
    }
    check_nccl(ncclGroupEnd(), who, comm_);
  }

  c10::Device device_;
  c10::cuda::CUDAStream stream_;
  ncclComm_t comm_ = nullptr;
};

/// Makes the stream that waits go on after the messages.
class NcclWork final : public Work {
 public:
  NcclWork(c10::Event done, c10::Device device, Tensors tensors)
      : done_(std::move(done)), device_(device), tensors_(std::move(tensors)) {}
  ~NcclWork() override {
    try {
      wait();
    } catch (const std::exception&) {
      // The next call on this device reports it.
    }
  }
  void wait() override {
    if (waited_) return;
    waited_ = true;
    done_.block(c10::cuda::getCurrentCUDAStream(device_.index()).unwrap());
    tensors_.clear();
  }

 private:
  c10::Event done_;
  c10::Device device_;
  Tensors tensors_;
  bool waited_ = false;
};

/// Sends and receives since the last wait. They start together: NCCL runs what was queued first,
/// and two ranks that both send first would wait for each other on the GPU.
struct Batch {
  Stages stages{1};
  Tensors tensors;
  WorkPtr work;  ///< set once started
};

class BatchWork final : public Work {
 public:
  BatchWork(std::shared_ptr<Channel> channel, std::shared_ptr<Batch> batch, std::string who)
      : channel_(std::move(channel)), batch_(std::move(batch)), who_(std::move(who)) {}
  ~BatchWork() override {
    try {
      wait();
    } catch (const std::exception&) {
      // The rank whose wait was asked for reports why.
    }
  }
  void wait() override {
    if (!batch_->work) {
      c10::Event done =
          channel_->carry(who_, batch_->tensors, [&] { return std::move(batch_->stages); });
      batch_->work = std::make_unique<NcclWork>(std::move(done), channel_->device(),
                                                std::move(batch_->tensors));
    }
    batch_->work->wait();
  }

 private:
  std::shared_ptr<Channel> channel_;
  std::shared_ptr<Batch> batch_;
  std::string who_;
};

class NcclCommunicator final : public Communicator {
 public:
  NcclCommunicator(std::unique_ptr<Communicator> host, c10::Device device)
      : host_(std::move(host)), channel_(std::make_shared<Channel>(*host_, device)) {}

  int rank() const override { return host_->rank(); }
  int size() const override { return host_->size(); }
  std::string backend() const override { return "nccl"; }

  std::unique_ptr<Communicator> split(int color, int key) override {
    return std::make_unique<NcclCommunicator>(host_->split(color, key), channel_->device());
  }
  void barrier() override { host_->barrier(); }

  WorkPtr broadcast(Tensors tensors, int root) override {
    check_peer(*this, "broadcast", root);
    if (on_host("broadcast", tensors)) return host_->broadcast(std::move(tensors), root);
    return carry("broadcast", tensors, [&] { return plan_broadcast(place(), tensors, root); });
  }

  WorkPtr all_reduce(Tensors tensors, ReduceOp op) override {
    if (on_host("all_reduce", tensors)) return host_->all_reduce(std::move(tensors), op);
    return carry("all_reduce", tensors, [&] { return plan_all_reduce(place(), tensors, op); });
  }

  WorkPtr all_gather(Tensors outputs, Tensors inputs) override {
    check_whole_and_part(*this, "all_gather", outputs, inputs);
    const Tensors all = joined(outputs, inputs);
    if (on_host("all_gather", all)) return host_->all_gather(std::move(outputs), std::move(inputs));
    return carry("all_gather", all, [&] { return plan_all_gather(place(), outputs, inputs); });
  }

  WorkPtr reduce_scatter(Tensors outputs, Tensors inputs) override {
    check_whole_and_part(*this, "reduce_scatter", inputs, outputs);
    const Tensors all = joined(outputs, inputs);
    if (on_host("reduce_scatter", all))
      return host_->reduce_scatter(std::move(outputs), std::move(inputs));
    return carry("reduce_scatter", all,
                 [&] { return plan_reduce_scatter(place(), outputs, inputs); });
  }

  WorkPtr all_to_all_v(Tensors outputs, Tensors inputs, std::vector<int64_t> receive_rows,
                       std::vector<int64_t> send_rows) override {
    check_all_to_all_v(*this, outputs, inputs, receive_rows, send_rows);
    const Tensors all = joined(outputs, inputs);
    if (on_host("all_to_all_v", all))
      return host_->all_to_all_v(std::move(outputs), std::move(inputs), std::move(receive_rows),
                                 std::move(send_rows));
    return carry("all_to_all_v", all, [&] {
      return plan_all_to_all_v(place(), outputs, inputs, receive_rows, send_rows);
    });
  }

  WorkPtr send(Tensors tensors, int to, int tag) override {
    check_peer(*this, "send", to);
    check_tag(*this, "send", tag);
    if (on_host("send", tensors)) return host_->send(std::move(tensors), to, tag);
    const auto batch = open_batch(tensors);
    for (const auto& tensor : tensors) batch->stages[0].sends.push_back({to, tensor.detach()});
    return std::make_unique<BatchWork>(channel_, batch, who("send"));
  }

  WorkPtr receive(Tensors tensors, int from, int tag) override {
    check_peer(*this, "receive", from);
    check_tag(*this, "receive", tag);
    if (on_host("receive", tensors)) return host_->receive(std::move(tensors), from, tag);
    const auto batch = open_batch(tensors);
    for (const auto& tensor : tensors) batch->stages[0].receives.push_back({from, tensor.detach()});
    return std::make_unique<BatchWork>(channel_, batch, who("receive"));
  }

 private:
  Place place() const { return {rank(), size()}; }
  std::string who(const char* operation) const {
    return fmt::format("rank {} of {}, {}", rank(), size(), operation);
  }

  static Tensors joined(Tensors a, const Tensors& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  }

  /// Checks the tensors; whether they are CPU tensors, which the host's group carries.
  bool on_host(const char* operation, const Tensors& tensors) const {
    check_tensors(*this, operation, tensors);
    const bool host = tensors.empty() || tensors[0].device().is_cpu();
    const c10::Device wanted = host ? c10::Device(c10::kCPU) : channel_->device();
    for (size_t i = 0; i < tensors.size(); ++i) {
      if (tensors[i].device() != wanted)
        fail_collective(*this, operation,
                        fmt::format("tensor {} is on {}, allowed: all on cpu or all on {}", i,
                                    tensors[i].device().str(), channel_->device().str()));
    }
    return host;
  }

  template <class MakePlan>
  WorkPtr carry(const char* operation, const Tensors& tensors, MakePlan make_plan) {
    c10::Event done = channel_->carry(who(operation), tensors, make_plan);
    return std::make_unique<NcclWork>(std::move(done), channel_->device(), tensors);
  }

  std::shared_ptr<Batch> open_batch(const Tensors& tensors) {
    if (!batch_ || batch_->work) batch_ = std::make_shared<Batch>();
    batch_->tensors.insert(batch_->tensors.end(), tensors.begin(), tensors.end());
    return batch_;
  }

  std::unique_ptr<Communicator> host_;
  std::shared_ptr<Channel> channel_;
  std::shared_ptr<Batch> batch_;
};

}  // namespace

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host,
                                                     c10::Device device) {
  SWITCHYARD_CHECK(device.is_cuda() && device.has_index(), "device {}", device.str());
  if (host->backend() == "thread")
    throw CommError("NCCL needs a process per GPU, and these ranks are threads of one process");
  return std::make_unique<NcclCommunicator>(std::move(host), device);
}

bool has_nccl() {
  return true;
}

std::string nccl_version() {
  int version = 0;
  if (ncclGetVersion(&version) != ncclSuccess) return "unknown";
  return fmt::format("{}.{}.{}", version / 10000, version / 100 % 100, version % 100);
}

}  // namespace switchyard
