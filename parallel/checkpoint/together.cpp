#include "parallel/checkpoint/together.h"

#include <ATen/ops/empty.h>

#include <cstring>

#include "core/base/error.h"

namespace switchyard {

void run_together(Communicator& comm, const std::function<void()>& body) {
  std::string text;
  ExitCode code = ExitCode::kInternal;
  try {
    body();
  } catch (const Error& e) {
    text = e.what();
    code = e.code();
  } catch (const std::exception& e) {
    const std::string what = e.what();
    text = "[internal] " + what.substr(0, what.find('\n'));
  }
  agree_on_error(comm, text, static_cast<int>(code));
}

void run_on_first(Communicator& comm, const std::function<void()>& body) {
  run_together(comm, [&] {
    if (comm.rank() == 0) body();
  });
}

std::vector<std::string> gather_texts(Communicator& comm, const std::string& text) {
  const auto as_tensor = [](const void* data, int64_t bytes) {
    at::Tensor tensor = at::empty({bytes}, at::kByte);
    if (bytes > 0) std::memcpy(tensor.mutable_data_ptr(), data, static_cast<size_t>(bytes));
    return tensor;
  };
  const auto length = static_cast<int64_t>(text.size());
  const at::Tensor lengths = gather_rows(comm, as_tensor(&length, sizeof length));
  const at::Tensor bytes = gather_rows(comm, as_tensor(text.data(), length));

  std::vector<std::string> texts;
  const auto* next = static_cast<const char*>(bytes.const_data_ptr());
  for (int rank = 0; rank < comm.size(); ++rank) {
    int64_t count = 0;
    std::memcpy(&count, static_cast<const char*>(lengths.const_data_ptr()) + rank * sizeof count,
                sizeof count);
    texts.emplace_back(next, static_cast<size_t>(count));
    next += count;
  }
  return texts;
}

}  // namespace switchyard
