# Tests of the tree's form that need the compiler or clang-format; the others are in tests/style.

# Whether a header of ours reaches LibTorch's module headers, directly or through others.
function(switchyard_includes_torch header out)
  set(result FALSE)
  file(STRINGS ${CMAKE_SOURCE_DIR}/${header} lines REGEX "^#include [\"<](torch/|core/|parallel/|trainers/|launch/|tests/)")
  foreach(line ${lines})
    string(REGEX REPLACE "^#include [\"<]([^\">]*)[\">].*" "\\1" included "${line}")
    if(included MATCHES "^torch/")
      set(result TRUE)
    elseif(NOT result AND EXISTS ${CMAKE_SOURCE_DIR}/${included})
      switchyard_includes_torch(${included} result)
    endif()
  endforeach()
  set(${out} ${result} PARENT_SCOPE)
endfunction()

# Every header alone in a source file. Those that reach LibTorch's modules take them precompiled; the
# others do without, so that a header which forgets <vector> is found.
file(GLOB_RECURSE _headers RELATIVE ${CMAKE_SOURCE_DIR} CONFIGURE_DEPENDS core/*.h parallel/*.h trainers/*.h
  launch/*.h tests/support/*.h)
add_library(include_alone OBJECT EXCLUDE_FROM_ALL)
add_library(include_alone_torch OBJECT EXCLUDE_FROM_ALL)
foreach(_header ${_headers})
  string(MAKE_C_IDENTIFIER ${_header} _name)
  set(_source ${CMAKE_BINARY_DIR}/include_alone/${_name}.cpp)
  file(CONFIGURE OUTPUT ${_source} CONTENT "#include \"${_header}\"\n")
  switchyard_includes_torch(${_header} _torch)
  if(_torch)
    target_sources(include_alone_torch PRIVATE ${_source})
  else()
    target_sources(include_alone PRIVATE ${_source})
  endif()
endforeach()
foreach(_target include_alone include_alone_torch)
  target_sources(${_target} PRIVATE ${CMAKE_SOURCE_DIR}/launch/cmake/pch.cpp)
  target_link_libraries(${_target} PRIVATE test_main CLI11::CLI11 switchyard_warnings)
  set_target_properties(${_target} PROPERTIES UNITY_BUILD OFF)
endforeach()
target_compile_options(include_alone PRIVATE -O0)
target_precompile_headers(include_alone_torch REUSE_FROM switchyard_pch)
add_test(NAME style/include_alone
  COMMAND ${CMAKE_COMMAND} --build ${CMAKE_BINARY_DIR} --target include_alone include_alone_torch)
set_tests_properties(style/include_alone PROPERTIES TIMEOUT 1800)

# The layout of clang-format differs between versions: checked with the one of Debian 12.
find_program(CLANG_FORMAT NAMES clang-format-14 clang-format)
if(CLANG_FORMAT)
  execute_process(COMMAND ${CLANG_FORMAT} --version OUTPUT_VARIABLE _version)
  if(_version MATCHES " 14\\.")
    add_test(NAME style/format WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
      COMMAND sh -c "find core parallel trainers launch tests -name '*.h' -o -name '*.cpp' -o -name '*.cu' | xargs ${CLANG_FORMAT} --dry-run -Werror")
  endif()
endif()
