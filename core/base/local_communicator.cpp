#include "core/base/local_communicator.h"

#include <ATen/core/grad_mode.h>

#include <deque>
#include <map>

#include "core/base/collective_checks.h"
#include "core/base/error.h"

namespace switchyard {
namespace {

using Tensors = Communicator::Tensors;

/// Messages of this process to itself, by tag.
using Mail = std::map<int, std::deque<Tensors>>;

WorkPtr copy_all(const Tensors& outputs, const Tensors& inputs) {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < outputs.size(); ++i) outputs[i].view(inputs[i].sizes()).copy_(inputs[i]);
  return finished_work();
}

class LocalCommunicator final : public Communicator {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::string backend() const override { return "local"; }

  std::unique_ptr<Communicator> split(int, int) override { return make_local_communicator(); }
  void barrier() override {}

  WorkPtr broadcast(Tensors tensors, int root) override {
    check_peer(*this, "broadcast", root);
    check_tensors(*this, "broadcast", tensors);
    return finished_work();
  }
  WorkPtr all_reduce(Tensors tensors, ReduceOp) override {
    check_tensors(*this, "all_reduce", tensors);
    return finished_work();
  }
  WorkPtr all_gather(Tensors outputs, Tensors inputs) override {
    check_whole_and_part(*this, "all_gather", outputs, inputs);
    for (size_t i = 0; i < outputs.size(); ++i) inputs[i] = inputs[i].unsqueeze(0);
    return copy_all(outputs, inputs);
  }
  WorkPtr reduce_scatter(Tensors outputs, Tensors inputs) override {
    check_whole_and_part(*this, "reduce_scatter", inputs, outputs);
    for (size_t i = 0; i < outputs.size(); ++i) inputs[i] = inputs[i].squeeze(0);
    return copy_all(outputs, inputs);
  }
  WorkPtr all_to_all_v(Tensors outputs, Tensors inputs, std::vector<int64_t> receive_rows,
                       std::vector<int64_t> send_rows) override {
    check_all_to_all_v(*this, outputs, inputs, receive_rows, send_rows);
    for (size_t i = 0; i < outputs.size(); ++i) {
      if (outputs[i].size(0) != inputs[i].size(0))
        fail_collective(*this, "all_to_all_v",
                        fmt::format("{} rows go out and {} are expected", inputs[i].size(0),
                                    outputs[i].size(0)));
    }
    return copy_all(outputs, inputs);
  }

  WorkPtr send(Tensors tensors, int to, int tag) override {
    check_peer(*this, "send", to);
    check_tag(*this, "send", tag);
    check_tensors(*this, "send", tensors);
    for (auto& tensor : tensors) tensor = tensor.detach().clone();
    (*mail_)[tag].push_back(std::move(tensors));
    return finished_work();
  }
  WorkPtr receive(Tensors tensors, int from, int tag) override {
    check_peer(*this, "receive", from);
    check_tag(*this, "receive", tag);
    check_tensors(*this, "receive", tensors);
    return std::make_unique<Receive>(*this, std::move(tensors), tag);
  }

 private:
  /// Takes its message when waited for, so that it may be started before the send.
  class Receive final : public Work {
   public:
    Receive(const LocalCommunicator& comm, Tensors tensors, int tag)
        : comm_(comm), mail_(comm.mail_), tensors_(std::move(tensors)), tag_(tag) {}
    void wait() override {
      if (done_) return;
      auto& messages = (*mail_)[tag_];
      if (messages.empty())
        fail_collective(comm_, "receive", fmt::format("nothing was sent with tag {}", tag_));
      const Tensors message = std::move(messages.front());
      messages.pop_front();
      done_ = true;
      if (message.size() != tensors_.size())
        fail_collective(comm_, "receive",
                        fmt::format("{} tensors were sent and {} are expected", message.size(),
                                    tensors_.size()));
      for (size_t i = 0; i < message.size(); ++i) {
        if (message[i].numel() != tensors_[i].numel() ||
            message[i].scalar_type() != tensors_[i].scalar_type())
          fail_collective(comm_, "receive",
                          fmt::format("tensor {} was sent with another size or dtype", i));
      }
      copy_all(tensors_, message);
    }

   private:
    const LocalCommunicator& comm_;
    std::shared_ptr<Mail> mail_;
    Tensors tensors_;
    int tag_;
    bool done_ = false;
  };

  std::shared_ptr<Mail> mail_ = std::make_shared<Mail>();
};

}  // namespace

std::unique_ptr<Communicator> make_local_communicator() {
  return std::make_unique<LocalCommunicator>();
}

}  // namespace switchyard
