#include "core/checkpoint/tensor_bytes.h"

#include <ATen/core/grad_mode.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>

namespace switchyard {
namespace {

struct NamedDtype {
  const char* name;
  at::ScalarType dtype;
};

// In the order of the format's enumeration, without the packed types that no tensor here holds.
constexpr std::array kDtypes = {
    NamedDtype{"BOOL", at::kBool},
    NamedDtype{"U8", at::kByte},
    NamedDtype{"I8", at::kChar},
    NamedDtype{"F8_E5M2", at::ScalarType::Float8_e5m2},
    NamedDtype{"F8_E4M3", at::ScalarType::Float8_e4m3fn},
    NamedDtype{"F8_E8M0", at::ScalarType::Float8_e8m0fnu},
    NamedDtype{"F8_E4M3FNUZ", at::ScalarType::Float8_e4m3fnuz},
    NamedDtype{"F8_E5M2FNUZ", at::ScalarType::Float8_e5m2fnuz},
    NamedDtype{"I16", at::kShort},
    NamedDtype{"U16", at::ScalarType::UInt16},
    NamedDtype{"F16", at::kHalf},
    NamedDtype{"BF16", at::kBFloat16},
    NamedDtype{"I32", at::kInt},
    NamedDtype{"U32", at::ScalarType::UInt32},
    NamedDtype{"F32", at::kFloat},
    NamedDtype{"C64", at::kComplexFloat},
    NamedDtype{"F64", at::kDouble},
    NamedDtype{"I64", at::kLong},
    NamedDtype{"U64", at::ScalarType::UInt64},
};

}  // namespace

at::Tensor packed_on_host(const at::Tensor& tensor) {
  at::NoGradGuard no_grad;
  return tensor.detach().to(at::kCPU).contiguous();
}

std::string_view bytes_of(const at::Tensor& packed) {
  return {static_cast<const char*>(packed.const_data_ptr()), packed.nbytes()};
}

std::optional<std::string> dtype_name(at::ScalarType dtype) {
  for (const auto& known : kDtypes) {
    if (known.dtype == dtype) return known.name;
  }
  return std::nullopt;
}

std::optional<at::ScalarType> dtype_from_name(std::string_view name) {
  for (const auto& known : kDtypes) {
    if (known.name == name) return known.dtype;
  }
  return std::nullopt;
}

int dtype_rank(at::ScalarType dtype) {
  for (size_t i = 0; i < kDtypes.size(); ++i) {
    if (kDtypes[i].dtype == dtype) return static_cast<int>(i);
  }
  return -1;
}

std::string describe_tensor(at::ScalarType dtype, const std::vector<int64_t>& shape) {
  return fmt::format("{} [{}]", dtype_name(dtype).value_or(c10::toString(dtype)),
                     fmt::join(shape, ", "));
}

}  // namespace switchyard
