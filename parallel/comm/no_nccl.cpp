#include "core/base/error.h"
#include "parallel/comm/nccl.h"

namespace switchyard {

std::unique_ptr<Communicator> make_nccl_communicator(std::unique_ptr<Communicator>, c10::Device) {
  throw CommError("this build has no NCCL: configure with -DSWITCHYARD_CUDA=ON to use GPUs");
}

bool has_nccl() {
  return false;
}
std::string nccl_version() {
  return "not built";
}

}  // namespace switchyard
