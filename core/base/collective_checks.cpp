#include "core/base/collective_checks.h"

#include <c10/util/StringUtil.h>

#include <numeric>

#include "core/base/error.h"

namespace switchyard {
namespace {

bool travels(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
    case at::kDouble:
    case at::kBFloat16:
    case at::kLong:
    case at::kByte:
    case at::kBool:
      return true;
    default:
      return false;
  }
}

std::string shape_text(at::IntArrayRef sizes) {
  return c10::str(sizes);
}

void check_same_number(const Communicator& comm, const std::string& operation, size_t outputs,
                       size_t inputs) {
  if (outputs != inputs)
    fail_collective(comm, operation,
                    fmt::format("{} output tensors for {} input tensors", outputs, inputs));
}

void check_rows(const Communicator& comm, const char* name, const std::vector<int64_t>& rows,
                const Communicator::Tensors& tensors) {
  const std::string operation = "all_to_all_v";
  if (static_cast<int>(rows.size()) != comm.size())
    fail_collective(comm, operation,
                    fmt::format("{} has {} entries, it needs one per rank", name, rows.size()));
  for (const int64_t n : rows)
    if (n < 0) fail_collective(comm, operation, fmt::format("{} holds {}, allowed: ≥ 0", name, n));
  const int64_t total = std::accumulate(rows.begin(), rows.end(), int64_t{0});
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (tensors[i].dim() == 0 || tensors[i].size(0) != total)
      fail_collective(comm, operation,
                      fmt::format("tensor {} has shape {}, {} adds up to {} rows", i,
                                  shape_text(tensors[i].sizes()), name, total));
  }
}

}  // namespace

void fail_collective(const Communicator& comm, const std::string& operation,
                     const std::string& problem) {
  throw CommError(fmt::format("rank {} of {}, {} ({}): {}", comm.rank(), comm.size(), operation,
                              comm.backend(), problem));
}

void check_tensors(const Communicator& comm, const std::string& operation,
                   const Communicator::Tensors& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    const at::Tensor& tensor = tensors[i];
    if (!tensor.defined())
      fail_collective(comm, operation, fmt::format("tensor {} is undefined", i));
    if (!tensor.is_contiguous())
      fail_collective(comm, operation, fmt::format("tensor {} is not contiguous", i));
    if (!travels(tensor.scalar_type()))
      fail_collective(comm, operation,
                      fmt::format("tensor {} has dtype {}, allowed: float32, float64, bfloat16, "
                                  "int64, uint8, bool",
                                  i, at::toString(tensor.scalar_type())));
  }
}

void check_on_cpu(const Communicator& comm, const std::string& operation,
                  const Communicator::Tensors& tensors) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (!tensors[i].device().is_cpu())
      fail_collective(
          comm, operation,
          fmt::format("tensor {} is on {}, allowed: cpu", i, tensors[i].device().str()));
  }
}

void check_peer(const Communicator& comm, const std::string& operation, int rank) {
  if (rank < 0 || rank >= comm.size())
    fail_collective(comm, operation,
                    fmt::format("rank {} does not exist, allowed: 0 to {}", rank, comm.size() - 1));
}

void check_tag(const Communicator& comm, const std::string& operation, int tag) {
  if (tag < 0) fail_collective(comm, operation, fmt::format("tag {}, allowed: ≥ 0", tag));
}

void check_whole_and_part(const Communicator& comm, const std::string& operation,
                          const Communicator::Tensors& whole, const Communicator::Tensors& part) {
  check_same_number(comm, operation, whole.size(), part.size());
  check_tensors(comm, operation, whole);
  check_tensors(comm, operation, part);
  for (size_t i = 0; i < whole.size(); ++i) {
    const bool shapes_agree = whole[i].dim() == part[i].dim() + 1 &&
                              whole[i].size(0) == comm.size() &&
                              whole[i].sizes().slice(1) == part[i].sizes();
    if (!shapes_agree || whole[i].scalar_type() != part[i].scalar_type())
      fail_collective(
          comm, operation,
          fmt::format("tensor {} is {} {} and its part {} {}; the whole needs one row of "
                      "the part's shape and dtype per rank",
                      i, at::toString(whole[i].scalar_type()), shape_text(whole[i].sizes()),
                      at::toString(part[i].scalar_type()), shape_text(part[i].sizes())));
  }
}

void check_all_to_all_v(const Communicator& comm, const Communicator::Tensors& outputs,
                        const Communicator::Tensors& inputs,
                        const std::vector<int64_t>& receive_rows,
                        const std::vector<int64_t>& send_rows) {
  const std::string operation = "all_to_all_v";
  check_same_number(comm, operation, outputs.size(), inputs.size());
  check_tensors(comm, operation, outputs);
  check_tensors(comm, operation, inputs);
  check_rows(comm, "receive_rows", receive_rows, outputs);
  check_rows(comm, "send_rows", send_rows, inputs);
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (outputs[i].sizes().slice(1) != inputs[i].sizes().slice(1) ||
        outputs[i].scalar_type() != inputs[i].scalar_type())
      fail_collective(
          comm, operation,
          fmt::format("tensor {} goes out as {} {} and comes in as {} {}; rows need one "
                      "shape and dtype",
                      i, at::toString(inputs[i].scalar_type()), shape_text(inputs[i].sizes()),
                      at::toString(outputs[i].scalar_type()), shape_text(outputs[i].sizes())));
  }
}

}  // namespace switchyard
