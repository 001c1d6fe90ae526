# cmake --install gives a relocatable tree; another project uses it with find_package(Switchyard).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/Switchyard)

get_property(_libraries GLOBAL PROPERTY SWITCHYARD_LIBRARIES)
foreach(_library ${_libraries})
  string(REGEX REPLACE "^switchyard_" "" _name ${_library})
  set_target_properties(${_library} PROPERTIES EXPORT_NAME ${_name})
endforeach()
set_target_properties(switchyard_settings PROPERTIES EXPORT_NAME settings)
install(TARGETS ${_libraries} switchyard_settings xxhash EXPORT SwitchyardTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}/switchyard)
install(EXPORT SwitchyardTargets NAMESPACE Switchyard:: DESTINATION ${_package})
install(TARGETS switchyard RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY core parallel trainers DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/switchyard
  FILES_MATCHING PATTERN "*.h")
install(DIRECTORY configs DESTINATION ${CMAKE_INSTALL_DATADIR}/switchyard)

configure_package_config_file(launch/cmake/SwitchyardConfig.cmake.in ${CMAKE_BINARY_DIR}/SwitchyardConfig.cmake
  INSTALL_DESTINATION ${_package})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/SwitchyardConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/SwitchyardConfig.cmake ${CMAKE_BINARY_DIR}/SwitchyardConfigVersion.cmake
  launch/cmake/FindLibTorch.cmake launch/cmake/FmtFirst.cmake DESTINATION ${_package})
