# Finds LibTorch by hand (no CUDA toolkit, no architecture probe) and defines the target LibTorch::torch.
# Order: SWITCHYARD_LIBTORCH, then the user-level cache that launch/setup.sh fills.
set(_cache $ENV{XDG_CACHE_HOME})
if(NOT _cache)
  set(_cache $ENV{HOME}/.cache)
endif()
set(_sets cpu cuda)
if(SWITCHYARD_CUDA)
  set(_sets cuda cpu)
endif()
set(_candidates ${SWITCHYARD_LIBTORCH})
if(NOT SWITCHYARD_LIBTORCH)
  foreach(_set ${_sets})
    file(GLOB _found ${_cache}/switchyard/libtorch-2.11.0-${_set}/lib/python3*/site-packages/torch)
    list(APPEND _candidates ${_found})
  endforeach()
endif()

find_path(LibTorch_ROOT NAMES include/ATen/ATen.h PATHS ${_candidates} NO_DEFAULT_PATH NO_CACHE)
find_library(LibTorch_CPU torch_cpu PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH NO_CACHE)
find_library(LibTorch_C10 c10 PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH NO_CACHE)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_ROOT LibTorch_CPU LibTorch_C10
  REASON_FAILURE_MESSAGE "Run launch/setup.sh, or pass -DSWITCHYARD_LIBTORCH=<folder with include/ and lib/>.")

if(LibTorch_FOUND AND NOT TARGET LibTorch::torch)
  set(_parts)
  foreach(_part MAJOR MINOR PATCH)
    file(STRINGS ${LibTorch_ROOT}/include/torch/headeronly/version.h _line REGEX "define TORCH_VERSION_${_part} ")
    string(REGEX REPLACE ".* ([0-9]+)$" "\\1" _line "${_line}")
    list(APPEND _parts "${_line}")
  endforeach()
  string(REPLACE ";" "." LibTorch_VERSION "${_parts}")
  add_library(LibTorch::torch INTERFACE IMPORTED)
  set_target_properties(LibTorch::torch PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${LibTorch_ROOT}/include;${LibTorch_ROOT}/include/torch/csrc/api/include"
    INTERFACE_LINK_LIBRARIES "${LibTorch_CPU};${LibTorch_C10}"
    INTERFACE_LINK_OPTIONS "LINKER:--allow-shlib-undefined;LINKER:-rpath,${LibTorch_ROOT}/lib")
endif()
