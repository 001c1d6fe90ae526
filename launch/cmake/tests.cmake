# One test program per folder of tests/, mirroring the tree: tests/core/moe/*_test.cpp → test_core_moe.
find_package(Catch2 2 REQUIRED)
add_library(test_main STATIC ${CMAKE_SOURCE_DIR}/tests/support/main.cpp)
target_link_libraries(test_main PUBLIC Catch2::Catch2 switchyard_settings PRIVATE switchyard_warnings)
target_compile_definitions(test_main PRIVATE
  SWITCHYARD_SOURCE_DIR="${CMAKE_SOURCE_DIR}" SWITCHYARD_BINARY="${CMAKE_BINARY_DIR}/switchyard")

add_custom_target(sanitized_tests)  # what launch/test.sh builds a second time, under sanitizers

# switchyard_test(core/moe LIBS core/moe [TORCH] [BY_FILE] [LABELS ...] [APART ...]): LIBS are the folders under test;
# BY_FILE makes each file a test, so that slow ones run beside each other; cases of a kind APART ("KIND: ...") are
# left to the test of that kind (switchyard_cases).
function(switchyard_test folder)
  cmake_parse_arguments(arg "TORCH;BY_FILE" "" "LIBS;LABELS;APART" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/${folder}/*_test.cpp)
  if(NOT sources)
    return()
  endif()
  string(REPLACE / _ name ${folder})
  add_executable(test_${name} ${sources})
  set_target_properties(test_${name} PROPERTIES UNITY_BUILD OFF)  # helpers of two tests may share a name
  target_link_libraries(test_${name} PRIVATE test_main switchyard_warnings)
  foreach(lib ${arg_LIBS})
    string(REPLACE / _ lib ${lib})
    target_link_libraries(test_${name} PRIVATE switchyard_${lib})
  endforeach()
  if(arg_TORCH)
    target_precompile_headers(test_${name} REUSE_FROM switchyard_pch)
    # The precompiled header is made with -fPIC; CMake would give a program -fPIE.
    set_target_properties(test_${name} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(test_${name} PRIVATE -fPIC)
  endif()
  if("sanitize" IN_LIST arg_LABELS)
    add_dependencies(sanitized_tests test_${name})
  endif()
  if(arg_BY_FILE)
    foreach(source ${sources})
      get_filename_component(file ${source} NAME_WE)
      string(REGEX REPLACE "_test$" "" short ${file})
      add_test(NAME ${folder}/${short} COMMAND test_${name} -w NoTests "-#" "[#${file}]"
        WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
      set_tests_properties(${folder}/${short} PROPERTIES TIMEOUT 900 LABELS "${arg_LABELS}")
    endforeach()
    return()
  endif()
  set(filter "")  # one argument: several would be alternatives
  foreach(kind ${arg_APART})
    string(APPEND filter "~\"${kind}:*\"")
  endforeach()
  add_test(NAME ${folder} COMMAND test_${name} ${filter} WORKING_DIRECTORY ${CMAKE_BINARY_DIR})
  set_tests_properties(${folder} PROPERTIES TIMEOUT 900 LABELS "${arg_LABELS}")
endfunction()

switchyard_test(core/base       LIBS core/base LABELS sanitize)
switchyard_test(core/config     LIBS core/config LABELS sanitize)
switchyard_test(core/data       LIBS core/data LABELS sanitize)
switchyard_test(core/checkpoint LIBS core/checkpoint LABELS sanitize)
switchyard_test(core/kernels    LIBS core/kernels TORCH)
switchyard_test(core/nn         LIBS core/nn TORCH)
switchyard_test(core/optim      LIBS core/optim TORCH)
switchyard_test(core/moe        LIBS core/moe parallel/comm TORCH APART causality properties)
switchyard_test(core/loss       LIBS core/loss parallel/comm TORCH)
switchyard_test(core/metrics    LIBS core/metrics)
switchyard_test(core/model      LIBS core/model core/loss TORCH)
switchyard_test(parallel/comm       LIBS parallel/comm LABELS sanitize)
target_sources(test_parallel_comm PRIVATE ${CMAKE_SOURCE_DIR}/tests/parallel/comm/conformance.cpp)
# The same suite over MPI and NCCL, as a job of mpirun.
if(SWITCHYARD_MPI)
  add_executable(test_comm_ranks ${CMAKE_SOURCE_DIR}/tests/parallel/comm/ranks_main.cpp
    ${CMAKE_SOURCE_DIR}/tests/parallel/comm/conformance.cpp)
  target_link_libraries(test_comm_ranks PRIVATE switchyard_parallel_comm switchyard_warnings)
  # switchyard_ranks_test(nccl 2 [shared WRAPPER]): parallel/comm/nccl-2[-shared].
  function(switchyard_ranks_test backend ranks)
    set(name parallel/comm/${backend}-${ranks})
    set(wrapper ${ARGN})
    if(wrapper)
      list(POP_FRONT wrapper suffix)
      string(APPEND name -${suffix})
    endif()
    add_test(NAME ${name} COMMAND ${MPIEXEC_EXECUTABLE} -n ${ranks}
      --oversubscribe --bind-to none ${wrapper} $<TARGET_FILE:test_comm_ranks> ${backend})
    set_tests_properties(${name} PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77
      ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1")
  endfunction()
  foreach(ranks 1 2 4)
    switchyard_ranks_test(mpi ${ranks})
    if(SWITCHYARD_CUDA)
      switchyard_ranks_test(nccl ${ranks})
      switchyard_ranks_test(nccl ${ranks} shared ${CMAKE_SOURCE_DIR}/tests/support/own_host.sh)
    endif()
  endforeach()
endif()
switchyard_test(parallel/mesh       LIBS parallel/mesh)
switchyard_test(parallel/expert     LIBS parallel/expert TORCH APART oracle)
switchyard_test(parallel/data       LIBS parallel/data TORCH)
switchyard_test(parallel/checkpoint LIBS parallel/checkpoint LABELS sanitize)
switchyard_test(trainers/config     LIBS trainers/config)
switchyard_test(trainers/step       LIBS trainers/step TORCH)
switchyard_test(trainers/run        LIBS trainers/run TORCH)
switchyard_test(trainers/eval       LIBS trainers/eval TORCH)
switchyard_test(trainers/route      LIBS trainers/route TORCH)
switchyard_test(invariance          LIBS core/model core/loss parallel/expert TORCH)
target_sources(test_invariance PRIVATE ${CMAKE_SOURCE_DIR}/tests/invariance/layouts.cpp)
switchyard_test(trainers/import     LIBS trainers/import TORCH)
switchyard_test(golden              LIBS trainers/import trainers/step TORCH)
switchyard_test(end_to_end          LIBS core/base BY_FILE)
if(SWITCHYARD_CUDA)
  switchyard_test(gpu               LIBS core/base)
  set_tests_properties(gpu PROPERTIES SKIP_REGULAR_EXPRESSION "skipped: no GPU here")
endif()
switchyard_test(style               LIBS core/base)
include(style)

# switchyard_cases(traps core/moe ...): the cases "traps: ..." of these folders' programs as one test. A program
# without one fails.
function(switchyard_cases kind)
  set(programs "")
  foreach(folder ${ARGN})
    string(REPLACE / _ name ${folder})
    list(APPEND programs $<TARGET_FILE:test_${name}>)
  endforeach()
  add_test(NAME ${kind} WORKING_DIRECTORY ${CMAKE_BINARY_DIR} COMMAND sh -c
    "failed=0; for program in \"$@\"; do \"$program\" -w NoTests \"$0:*\" || failed=1; done; exit $failed"
    ${kind} ${programs})
  set_tests_properties(${kind} PROPERTIES TIMEOUT 900)
endfunction()
switchyard_cases(oracle parallel/expert)
switchyard_cases(causality core/moe core/model trainers/step)
switchyard_cases(properties core/moe)
switchyard_cases(traps core/kernels core/moe core/loss core/metrics parallel/data parallel/checkpoint
  parallel/expert trainers/step invariance)

# A second implementation of routing in NumPy: its own cases, and a share of the grid that compares it with
# `switchyard route`. Debian's NumPy belongs to Debian's Python.
find_program(SWITCHYARD_PYTHON NAMES python3 PATHS /usr/bin NO_DEFAULT_PATH)
find_program(SWITCHYARD_PYTHON NAMES python3 REQUIRED)
add_test(NAME route_reference COMMAND ${SWITCHYARD_PYTHON} ${CMAKE_SOURCE_DIR}/tests/route/test_reference.py)
add_test(NAME route_grid COMMAND ${SWITCHYARD_PYTHON} ${CMAKE_SOURCE_DIR}/tests/route/grid.py
  $<TARGET_FILE:switchyard> --reduced)
set_tests_properties(route_reference route_grid PROPERTIES TIMEOUT 900)

if(NOT SWITCHYARD_SANITIZE)
  add_test(NAME consumer COMMAND ${CMAKE_SOURCE_DIR}/tests/consumer/check.sh ${CMAKE_BINARY_DIR})
  set_tests_properties(consumer PROPERTIES TIMEOUT 900)
endif()

# A GPU is for the tests that ask for one: elsewhere `run.device: auto` would give it to one rank and refuse two.
if(SWITCHYARD_CUDA)
  get_property(tests DIRECTORY PROPERTY TESTS)
  list(FILTER tests EXCLUDE REGEX "^gpu$|/nccl-")
  set_property(TEST ${tests} APPEND PROPERTY ENVIRONMENT "CUDA_VISIBLE_DEVICES=")
endif()
