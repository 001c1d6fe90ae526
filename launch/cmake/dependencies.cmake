# Compiler settings and third-party libraries; docs/dependencies.md says what each is for.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
set(CMAKE_SKIP_RPATH ON)  # LibTorch's target brings its own
set(CMAKE_CXX_FLAGS_RELEASE "-O3")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # GCC caches files behind a precompiled header only with this sloppiness and -fpch-preprocess.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros
    CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1 CCACHE_MAXSIZE=20G ${CCACHE})
  add_compile_options($<$<AND:$<COMPILE_LANGUAGE:CXX>,$<CXX_COMPILER_ID:GNU>>:-fpch-preprocess>)
endif()

find_package(LibTorch REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(yaml-cpp REQUIRED)
find_library(XXHASH_LIBRARY xxhash REQUIRED)
add_library(xxhash INTERFACE)
target_link_libraries(xxhash INTERFACE ${XXHASH_LIBRARY})
if(SWITCHYARD_MPI)
  find_package(MPI REQUIRED COMPONENTS C)
endif()
if(SWITCHYARD_CUDA)
  include(cuda)
endif()

# What every file of ours is compiled with.
add_library(switchyard_settings INTERFACE)
target_include_directories(switchyard_settings INTERFACE $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}>
  $<INSTALL_INTERFACE:include/switchyard>)
include(FmtFirst)
switchyard_fmt_first(switchyard_settings)
target_compile_features(switchyard_settings INTERFACE cxx_std_20)
target_link_libraries(switchyard_settings INTERFACE LibTorch::torch OpenMP::OpenMP_CXX fmt::fmt
  nlohmann_json::nlohmann_json)

# Private to this build: warnings and sanitizers.
add_library(switchyard_warnings INTERFACE)
target_compile_options(switchyard_warnings INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-Wno-missing-field-initializers;
    $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow>>)  # false alarms of GCC 12 inside fmt 9
if(SWITCHYARD_WERROR)
  target_compile_options(switchyard_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Werror>)
endif()
if(SWITCHYARD_SANITIZE)
  target_compile_options(switchyard_warnings INTERFACE -fsanitize=${SWITCHYARD_SANITIZE}
    -fno-omit-frame-pointer -fno-sanitize-recover=all)
  target_compile_definitions(switchyard_warnings INTERFACE SWITCHYARD_SANITIZED=1)
  add_link_options(-fsanitize=${SWITCHYARD_SANITIZE})
endif()

# LibTorch's module headers, precompiled once and shared by every TORCH folder.
add_library(switchyard_pch OBJECT ${CMAKE_SOURCE_DIR}/launch/cmake/pch.cpp)
target_link_libraries(switchyard_pch PRIVATE switchyard_settings switchyard_warnings)
target_precompile_headers(switchyard_pch PRIVATE <torch/torch.h> <vector> <string> <memory> <map>)
