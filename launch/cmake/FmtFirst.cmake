# LibTorch carries the headers of another fmt in its include folder. This puts those of the fmt that is
# linked before them, through a folder that holds nothing else.
function(switchyard_fmt_first target)
  get_target_property(include fmt::fmt INTERFACE_INCLUDE_DIRECTORIES)
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/include)
  file(CREATE_LINK ${include}/fmt ${CMAKE_BINARY_DIR}/include/fmt SYMBOLIC)
  target_include_directories(${target} SYSTEM INTERFACE $<BUILD_INTERFACE:${CMAKE_BINARY_DIR}/include>)
endfunction()
