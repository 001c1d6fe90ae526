# The CUDA side of LibTorch, NCCL, and nvcc where there are kernels to compile. Headers come from the
# toolkit; the libraries are those that LibTorch itself loads, so that a process has one of each.
find_package(CUDAToolkit REQUIRED)
find_library(LibTorch_CUDA torch_cuda PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH NO_CACHE REQUIRED)
find_library(LibTorch_C10_CUDA c10_cuda PATHS ${LibTorch_ROOT}/lib NO_DEFAULT_PATH NO_CACHE REQUIRED)

get_filename_component(_packages ${LibTorch_ROOT} DIRECTORY)
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${_packages}/nvidia/nccl/include ${CUDAToolkit_INCLUDE_DIRS} REQUIRED)
find_library(NCCL_LIBRARY NAMES libnccl.so.2 nccl HINTS ${_packages}/nvidia/nccl/lib REQUIRED)

# For the one folder that includes CUDA's headers: every other file compiles as in a build without CUDA.
add_library(cuda_headers INTERFACE)
target_include_directories(cuda_headers SYSTEM INTERFACE ${CUDAToolkit_INCLUDE_DIRS} ${NCCL_INCLUDE_DIR})

# Nothing of ours calls libtorch_cuda by name, but its kernels register when it is loaded.
set_property(TARGET LibTorch::torch APPEND PROPERTY INTERFACE_LINK_LIBRARIES
  "-Wl,--no-as-needed,${LibTorch_CUDA},--as-needed" ${LibTorch_C10_CUDA} ${NCCL_LIBRARY} ${CUDA_cudart_LIBRARY})
get_filename_component(_nccl ${NCCL_LIBRARY} DIRECTORY)
set_property(TARGET LibTorch::torch APPEND PROPERTY INTERFACE_LINK_OPTIONS "LINKER:-rpath,${_nccl}")

file(GLOB_RECURSE _kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/core/*.cu)
if(_kernels)
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80 90)
  endif()
  enable_language(CUDA)
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
endif()
