#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/base/communicator.h"

namespace switchyard {

// What every backend checks on its own rank before it starts a collective. Each function throws
// CommError naming the rank, the operation, the tensor and what is allowed.

[[noreturn]] void fail_collective(const Communicator& comm, const std::string& operation,
                                  const std::string& problem);

/// Defined, contiguous, of a dtype that travels.
void check_tensors(const Communicator& comm, const std::string& operation,
                   const Communicator::Tensors& tensors);
/// In host memory.
void check_on_cpu(const Communicator& comm, const std::string& operation,
                  const Communicator::Tensors& tensors);
void check_peer(const Communicator& comm, const std::string& operation, int rank);
void check_tag(const Communicator& comm, const std::string& operation, int tag);
/// whole[i] has shape [size(), part[i].sizes()...] and part[i]'s dtype: all_gather, reduce_scatter.
void check_whole_and_part(const Communicator& comm, const std::string& operation,
                          const Communicator::Tensors& whole, const Communicator::Tensors& part);
void check_all_to_all_v(const Communicator& comm, const Communicator::Tensors& outputs,
                        const Communicator::Tensors& inputs,
                        const std::vector<int64_t>& receive_rows,
                        const std::vector<int64_t>& send_rows);

}  // namespace switchyard
