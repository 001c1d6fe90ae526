#include "core/base/error.h"
#include "parallel/comm/mpi.h"

namespace switchyard {
namespace {

[[noreturn]] void fail() {
  throw CommError("this build has no MPI: configure with -DSWITCHYARD_MPI=ON to run several ranks");
}

}  // namespace

MpiSession::MpiSession() {
  fail();
}
MpiSession::~MpiSession() = default;
void MpiSession::end_all_ranks(int) {
  fail();
}
std::unique_ptr<Communicator> make_mpi_world() {
  fail();
}
bool has_mpi() {
  return false;
}
std::string mpi_version() {
  return "not built";
}

}  // namespace switchyard
