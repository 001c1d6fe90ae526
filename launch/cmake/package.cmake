# cmake --install gives a relocatable tree; another project uses it with find_package(Switchyard).
include(GNUInstallDirs)
