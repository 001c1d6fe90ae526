#include "parallel/comm/mpi.h"

#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <ATen/core/grad_mode.h>
#include <mpi.h>

#include <algorithm>
#include <cstdlib>
#include <list>
#include <thread>

#include "core/base/collective_checks.h"
#include "core/base/error.h"
#include "parallel/comm/message_plan.h"

namespace switchyard {
namespace {

using Tensors = Communicator::Tensors;

/// Counts are int in MPI 3.
constexpr int64_t kPieceBytes = 1 << 30;

std::string error_text(int code) {
  char text[MPI_MAX_ERROR_STRING];
  int length = 0;
  MPI_Error_string(code, text, &length);
  return std::string(text, static_cast<size_t>(length));
}

/// Throws CommError unless `code` is success. `who` is "rank 1 of 4, all_reduce".
void check(int code, const std::string& who) {
  if (code != MPI_SUCCESS) throw CommError(who + " (mpi): " + error_text(code));
}

/// An operation under way: its stages one after the other.
class Transfer {
 public:
  Transfer(std::string who, MPI_Comm comm, int tag, Stages stages)
      : who_(std::move(who)), comm_(comm), tag_(tag), stages_(std::move(stages)) {
    start_stage();
  }

  /// An operation that MPI carries out by itself.
  Transfer(std::string who, MPI_Request request)
      : who_(std::move(who)),
        comm_(MPI_COMM_NULL),
        tag_(0),
        stages_(1),
        requests_{request},
        expected_bytes_{-1} {}

  bool done() const { return stage_ == stages_.size(); }

  /// Lets MPI work, and goes on to the next stage when this one has arrived. True if it did.
  bool advance() {
    int arrived = 0;
    std::vector<MPI_Status> statuses(requests_.size());
    const int code = MPI_Testall(static_cast<int>(requests_.size()), requests_.data(), &arrived,
                                 statuses.data());
    if (code == MPI_ERR_IN_STATUS) {
      for (const MPI_Status& status : statuses) {
        if (status.MPI_ERROR != MPI_ERR_PENDING) check(status.MPI_ERROR, who_);
      }
    }
    check(code, who_);
    if (!arrived) return false;
    for (size_t i = 0; i < statuses.size(); ++i) check_size(statuses[i], expected_bytes_[i]);
    if (stages_[stage_].then) {
      at::NoGradGuard no_grad;
      stages_[stage_].then();
    }
    ++stage_;
    start_stage();
    return true;
  }

 private:
  void start_stage() {
    requests_.clear();
    expected_bytes_.clear();
    if (done()) {
      stages_.clear();  // lets go of the tensors
      stage_ = 0;
      return;
    }
    const int tag = tag_ + static_cast<int>(stage_);
    for (const Message& message : stages_[stage_].receives) {
      auto* bytes = static_cast<char*>(message.data.mutable_data_ptr());
      for_pieces(message, [&](int64_t first, int count, MPI_Request* request) {
        expected_bytes_.push_back(count);
        return MPI_Irecv(bytes + first, count, MPI_BYTE, message.peer, tag, comm_, request);
      });
    }
    for (const Message& message : stages_[stage_].sends) {
      const auto* bytes = static_cast<const char*>(message.data.const_data_ptr());
      for_pieces(message, [&](int64_t first, int count, MPI_Request* request) {
        expected_bytes_.push_back(-1);
        return MPI_Isend(bytes + first, count, MPI_BYTE, message.peer, tag, comm_, request);
      });
    }
  }

  /// Empty messages travel too, so that a disagreement about sizes is an error rather than a hang.
  template <class Post>
  void for_pieces(const Message& message, Post post) {
    const int64_t bytes = static_cast<int64_t>(message.data.nbytes());
    int64_t first = 0;
    do {
      const int64_t count = std::min(kPieceBytes, bytes - first);
      MPI_Request request = MPI_REQUEST_NULL;
      check(post(first, static_cast<int>(count), &request), who_);
      requests_.push_back(request);
      first += count;
    } while (first < bytes);
  }

  void check_size(const MPI_Status& status, int64_t expected) const {
    if (expected < 0) return;
    int bytes = 0;
    MPI_Get_count(&status, MPI_BYTE, &bytes);
    if (bytes != expected)
      throw CommError(fmt::format("{} (mpi): {} bytes came from rank {}, {} were expected", who_,
                                  bytes, status.MPI_SOURCE, expected));
  }

  std::string who_;
  MPI_Comm comm_;
  int tag_;
  Stages stages_;
  size_t stage_ = 0;
  std::vector<MPI_Request> requests_;
  std::vector<int64_t> expected_bytes_;  ///< of each request; −1 = not a receive
};

/// All operations of this process. MPI has no thread of its own: whoever waits moves all of them,
/// so that no rank's wait depends on the order in which another rank waits.
class Engine {
 public:
  void add(std::shared_ptr<Transfer> operation) {
    if (!operation->done()) active_.push_back(std::move(operation));
  }

  void wait(const Transfer& operation) {
    constexpr int kPollsBeforeYield = 200;
    for (int polls = 0; !operation.done(); ++polls) {
      if (progress()) polls = 0;
      if (polls > kPollsBeforeYield) std::this_thread::yield();
    }
  }

 private:
  bool progress() {
    bool moved = false;
    for (auto it = active_.begin(); it != active_.end();) {
      const std::shared_ptr<Transfer> operation = *it;
      moved |= operation->advance();
      it = operation->done() ? active_.erase(it) : std::next(it);
    }
    return moved;
  }

  std::list<std::shared_ptr<Transfer>> active_;
};

class MpiWork final : public Work {
 public:
  MpiWork(std::shared_ptr<Engine> engine, std::shared_ptr<Transfer> operation)
      : engine_(std::move(engine)), operation_(std::move(operation)) {}
  ~MpiWork() override {
    try {
      wait();
    } catch (const std::exception&) {
      // The rank whose wait was asked for reports why.
    }
  }
  void wait() override {
    if (!operation_) return;
    const auto operation = std::move(operation_);
    engine_->wait(*operation);
  }

 private:
  std::shared_ptr<Engine> engine_;
  std::shared_ptr<Transfer> operation_;
};

class MpiCommunicator final : public Communicator {
 public:
  /// Owns `comm`. Messages of send() and receive() travel on a copy of it, apart from collectives.
  MpiCommunicator(MPI_Comm comm, std::shared_ptr<Engine> engine)
      : comm_(comm), engine_(std::move(engine)) {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    check(MPI_Comm_rank(comm_, &rank_), "MPI_Comm_rank");
    check(MPI_Comm_size(comm_, &size_), "MPI_Comm_size");
    check(MPI_Comm_dup(comm_, &messages_), who("split"));
    MPI_Comm_set_errhandler(messages_, MPI_ERRORS_RETURN);
    int* bound = nullptr;
    int found = 0;
    MPI_Comm_get_attr(comm_, MPI_TAG_UB, &bound, &found);
    highest_tag_ = found ? *bound : 32767;
  }

  ~MpiCommunicator() override {
    MPI_Comm_free(&messages_);
    MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string backend() const override { return "mpi"; }

  std::unique_ptr<Communicator> split(int color, int key) override {
    // MPI_Comm_split blocks without moving our operations; behind a barrier it blocks for nobody.
    barrier();
    MPI_Comm group = MPI_COMM_NULL;
    check(MPI_Comm_split(comm_, color, key, &group), who("split"));
    return std::make_unique<MpiCommunicator>(group, engine_);
  }

  void barrier() override {
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Ibarrier(comm_, &request), who("barrier"));
    start(std::make_shared<Transfer>(who("barrier"), request))->wait();
  }

  WorkPtr broadcast(Tensors tensors, int root) override {
    check_peer(*this, "broadcast", root);
    accept("broadcast", tensors);
    return start("broadcast", plan_broadcast(place(), tensors, root));
  }

  WorkPtr all_reduce(Tensors tensors, ReduceOp op) override {
    accept("all_reduce", tensors);
    return start("all_reduce", plan_all_reduce(place(), tensors, op));
  }

  WorkPtr all_gather(Tensors outputs, Tensors inputs) override {
    check_whole_and_part(*this, "all_gather", outputs, inputs);
    accept("all_gather", outputs);
    accept("all_gather", inputs);
    return start("all_gather", plan_all_gather(place(), outputs, inputs));
  }

  WorkPtr reduce_scatter(Tensors outputs, Tensors inputs) override {
    check_whole_and_part(*this, "reduce_scatter", inputs, outputs);
    accept("reduce_scatter", outputs);
    accept("reduce_scatter", inputs);
    return start("reduce_scatter", plan_reduce_scatter(place(), outputs, inputs));
  }

  WorkPtr all_to_all_v(Tensors outputs, Tensors inputs, std::vector<int64_t> receive_rows,
                       std::vector<int64_t> send_rows) override {
    check_all_to_all_v(*this, outputs, inputs, receive_rows, send_rows);
    accept("all_to_all_v", outputs);
    accept("all_to_all_v", inputs);
    return start("all_to_all_v",
                 plan_all_to_all_v(place(), outputs, inputs, receive_rows, send_rows));
  }

  WorkPtr send(Tensors tensors, int to, int tag) override {
    accept_message("send", tensors, to, tag);
    Stages stages(1);
    for (const auto& tensor : tensors) stages[0].sends.push_back({to, tensor.detach()});
    return start(std::make_shared<Transfer>(who("send"), messages_, tag, std::move(stages)));
  }

  WorkPtr receive(Tensors tensors, int from, int tag) override {
    accept_message("receive", tensors, from, tag);
    Stages stages(1);
    for (const auto& tensor : tensors) stages[0].receives.push_back({from, tensor.detach()});
    return start(std::make_shared<Transfer>(who("receive"), messages_, tag, std::move(stages)));
  }

 private:
  Place place() const { return {rank_, size_}; }
  std::string who(const char* operation) const {
    return fmt::format("rank {} of {}, {}", rank_, size_, operation);
  }

  void accept(const char* operation, const Tensors& tensors) const {
    check_tensors(*this, operation, tensors);
    check_on_cpu(*this, operation, tensors);
  }

  void accept_message(const char* operation, const Tensors& tensors, int peer, int tag) const {
    check_peer(*this, operation, peer);
    check_tag(*this, operation, tag);
    if (tag > highest_tag_)
      fail_collective(*this, operation,
                      fmt::format("tag {}, allowed: up to {}", tag, highest_tag_));
    accept(operation, tensors);
  }

  /// Collectives are told apart by tags, of which each may use as many as it has stages.
  WorkPtr start(const char* operation, Stages stages) {
    const int tag = next_tag_;
    next_tag_ += static_cast<int>(stages.size());
    if (next_tag_ > highest_tag_ - 8) next_tag_ = 0;
    return start(std::make_shared<Transfer>(who(operation), comm_, tag, std::move(stages)));
  }

  WorkPtr start(std::shared_ptr<Transfer> operation) {
    engine_->add(operation);
    return std::make_unique<MpiWork>(engine_, std::move(operation));
  }

  MPI_Comm comm_, messages_ = MPI_COMM_NULL;
  std::shared_ptr<Engine> engine_;
  int rank_ = 0, size_ = 1;
  int highest_tag_ = 0, next_tag_ = 0;
};

}  // namespace

MpiSession::MpiSession() {
  int provided = 0;
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided), "MPI_Init_thread");
  if (provided < MPI_THREAD_SERIALIZED)
    throw CommError("this MPI library does not allow calls from several threads");
}

MpiSession::~MpiSession() {
  MPI_Finalize();
}

void MpiSession::end_all_ranks(int code) {
  MPI_Abort(MPI_COMM_WORLD, code);
  throw CommError("MPI_Abort came back");
}

std::unique_ptr<Communicator> make_mpi_world() {
  MPI_Comm world = MPI_COMM_NULL;
  check(MPI_Comm_dup(MPI_COMM_WORLD, &world), "MPI_Comm_dup");
  return std::make_unique<MpiCommunicator>(world, std::make_shared<Engine>());
}

bool has_mpi() {
  return true;
}

std::string mpi_version() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING];
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string version(text, static_cast<size_t>(length));
  return version.substr(0, version.find_first_of(",\n"));
}

}  // namespace switchyard
