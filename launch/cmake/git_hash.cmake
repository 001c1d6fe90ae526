# cmake -DSOURCE=... -DHEADER=... -P git_hash.cmake: writes the header when the commit has changed.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
  OUTPUT_VARIABLE hash OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT hash)
  set(hash "no git")
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#pragma once\n\nnamespace switchyard {\nconstexpr const char* kGitHash = \"${hash}\";\n}\n")
