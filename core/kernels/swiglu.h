#pragma once

#include <ATen/core/Tensor.h>

namespace switchyard {

/// SwiGLU (Shazeer 2020): gate_up [..., 2F] holds the gate values first; returns silu(gate) ⊙ up,
/// [..., F]. Differentiable; the backward pass recomputes the sigmoid.
at::Tensor swiglu(const at::Tensor& gate_up);

namespace reference {
at::Tensor swiglu(const at::Tensor& gate_up);
}

}  // namespace switchyard
