#include "core/base/communicator.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cstring>

#include "core/base/error.h"

namespace switchyard {
namespace {

class FinishedWork final : public Work {
 public:
  void wait() override {}
};

int64_t broadcast_number(Communicator& comm, int64_t value, int root) {
  at::Tensor number = at::full({1}, value, at::kLong);
  comm.broadcast({number}, root)->wait();
  return number.item<int64_t>();
}

}  // namespace

WorkPtr finished_work() {
  return std::make_unique<FinishedWork>();
}

at::Tensor gather_rows(Communicator& comm, const at::Tensor& rows) {
  SWITCHYARD_CHECK(rows.defined() && rows.dim() >= 1, "gather_rows needs a tensor with rows");
  const int64_t size = comm.size();
  at::Tensor counts = at::empty({size, 1}, at::kLong);
  comm.all_gather({counts}, {at::full({1}, rows.size(0), at::kLong)})->wait();
  const int64_t* count = counts.const_data_ptr<int64_t>();
  const int64_t most = *std::max_element(count, count + size);

  // Equal shapes travel in one collective, so shorter ranks send unused rows along.
  std::vector<int64_t> shape = rows.sizes().vec();
  shape[0] = most;
  at::Tensor padded = rows.detach().contiguous();
  if (rows.size(0) != most) {
    padded = at::zeros(shape, rows.options());
    padded.narrow(0, 0, rows.size(0)).copy_(rows.detach());
  }
  shape.insert(shape.begin(), size);
  at::Tensor gathered = at::empty(shape, rows.options());
  comm.all_gather({gathered}, {padded})->wait();
  std::vector<at::Tensor> parts;
  for (int64_t r = 0; r < size; ++r) parts.push_back(gathered[r].narrow(0, 0, count[r]));
  return at::cat(parts, 0);
}

std::string broadcast_text(Communicator& comm, const std::string& text, int root) {
  const int64_t length = broadcast_number(comm, static_cast<int64_t>(text.size()), root);
  at::Tensor bytes = at::empty({length}, at::kByte);
  if (comm.rank() == root && length > 0)
    std::memcpy(bytes.mutable_data_ptr<uint8_t>(), text.data(), text.size());
  comm.broadcast({bytes}, root)->wait();
  return std::string(reinterpret_cast<const char*>(bytes.const_data_ptr<uint8_t>()),
                     static_cast<size_t>(length));
}

void agree_on_error(Communicator& comm, const std::string& text, int code) {
  at::Tensor first = at::full({1}, text.empty() ? comm.size() : comm.rank(), at::kLong);
  comm.all_reduce({first}, ReduceOp::kMin)->wait();
  const int root = static_cast<int>(first.item<int64_t>());
  if (root == comm.size()) return;
  const auto agreed_code = static_cast<ExitCode>(broadcast_number(comm, code, root));
  throw Error(agreed_code, broadcast_text(comm, text, root));
}

}  // namespace switchyard
