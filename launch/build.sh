#!/usr/bin/env bash
# launch/build.sh [PRESET [TARGET...]]
#
# Sets up what is missing, configures and builds; the program is build/PRESET/switchyard.
# PRESET: release (default), debug, asan-ubsan, tsan, cuda. TARGET: switchyard by default, `all` with the tests.
#
#   SWITCHYARD_LIBTORCH=DIR use this LibTorch instead of the one that launch/setup.sh fetches
#   SWITCHYARD_JOBS=N       compilers at once (default: the cores, as far as memory allows)
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in -h | --help) usage; exit 0 ;; esac
preset=${1:-release}
shift $(($# > 0))
targets=("$@")
if [ ${#targets[@]} = 0 ]; then targets=(switchyard); fi
case $preset in
  release | debug | asan-ubsan | tsan) "$root/launch/setup.sh" ;;
  cuda) "$root/launch/setup.sh" --cuda ;;
  *) fail "unknown preset '$preset'; known: release, debug, asan-ubsan, tsan, cuda" ;;
esac

jobs() {  # a file with LibTorch's headers takes about 1.3 GB to compile
  local cores memory
  cores=$(env -u OMP_NUM_THREADS nproc)
  memory=$(awk '/^MemAvailable/ {print int($2 / 1.3e6)}' /proc/meminfo)
  if [ "$memory" -lt "$cores" ]; then cores=$memory; fi
  echo $((cores > 0 ? cores : 1))
}

cd "$root"
build=build/$preset
settings=()
if [ -n "${SWITCHYARD_LIBTORCH:-}" ]; then settings+=("-DSWITCHYARD_LIBTORCH=$SWITCHYARD_LIBTORCH"); fi
if [ ! -e "$build/build.ninja" ] || [ ${#settings[@]} != 0 ]; then
  step "configure $build" cmake --preset "$preset" "${settings[@]}" >&2
fi
step "build $build (${targets[*]})" ninja -C "$build" -j "${SWITCHYARD_JOBS:-$(jobs)}" "${targets[@]}" >&2
