#include "core/kernels/device_settings.h"

#include <ATen/Context.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace switchyard {

void prepare_device(c10::Device device) {
  if (!device.is_cuda()) return;
  c10::impl::VirtualGuardImpl(device.type()).setDevice(device);
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);  // costs time, and hides no bug of ours
  context.setFloat32MatmulPrecision("highest");            // some images turn TF32 on
  context.setAllowBF16ReductionCuBLAS(false);
}

}  // namespace switchyard
