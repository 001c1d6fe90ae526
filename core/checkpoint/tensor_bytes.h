#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {

/// The tensor itself where it is contiguous and in host memory, else such a copy of it.
at::Tensor packed_on_host(const at::Tensor& tensor);

/// The elements of a tensor that packed_on_host() returned; valid while it lives.
std::string_view bytes_of(const at::Tensor& packed);

/// safetensors' name of a dtype ("F32", "BF16", "I64"); nullopt where the format has none.
std::optional<std::string> dtype_name(at::ScalarType dtype);

/// The dtype with that safetensors name; nullopt for unknown names and for those that a tensor here
/// cannot hold (F4, F6_E2M3, F6_E3M2).
std::optional<at::ScalarType> dtype_from_name(std::string_view name);

/// Place of a dtype in the format's own list: the canonical order of a file is by falling rank.
int dtype_rank(at::ScalarType dtype);

/// "F32 [2, 3]".
std::string describe_tensor(at::ScalarType dtype, const std::vector<int64_t>& shape);

}  // namespace switchyard
