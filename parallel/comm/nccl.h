#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <string>

#include "core/base/communicator.h"

namespace switchyard {

/// The group of `host`, which must outlive nothing: it is owned. CUDA tensors of `device` travel
/// over NCCL, CPU tensors over `host`; a call takes one kind. Collective. Every rank needs a GPU of
/// its own (ranks as threads are refused); throws CommError, also in a build without CUDA.
///
/// Stream rule: a collective starts after the work queued on the current stream and runs on a
/// stream of the communicator; wait() makes the then current stream wait for it, never the host.
/// Sums are formed in rank order on the receiving GPU (message_plan.h). send() and receive() start
/// together at the next wait; NCCL has no tags: messages of a pair match in the order sent.
std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator> host,
                                                     c10::Device device);

/// Whether this build has NCCL, and the library's version.
bool has_nccl();
std::string nccl_version();

}  // namespace switchyard
