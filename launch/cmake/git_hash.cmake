# cmake -DSOURCE=... -DOUTPUT=... -P git_hash.cmake: writes the source file when the commit has changed.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
  OUTPUT_VARIABLE hash OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT hash)
  set(hash "no git")
endif()
file(CONFIGURE OUTPUT ${OUTPUT}
  CONTENT "namespace switchyard {\nextern const char* const kGitHash;\nconst char* const kGitHash = \"${hash}\";\n}\n")
