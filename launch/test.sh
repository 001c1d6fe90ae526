#!/usr/bin/env bash
# launch/test.sh
#
# Sets up, builds everything and runs all tests; then those that handle bytes and threads once more under
# the address and undefined-behaviour sanitizers; then, where nvcc and NCCL's header are there, builds the
# CUDA configuration, and tests it where there is a GPU. Ends with the summary of the main suite.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in
  '') ;;
  -h | --help) usage; exit 0 ;;
  *) fail "unknown argument '$1'; launch/test.sh takes none" ;;
esac
cd "$root"
failed=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

cuda_home=${CUDA_HOME:-/usr/local/cuda}
has_cuda() {
  { command -v nvcc || [ -x "$cuda_home/bin/nvcc" ]; } >/dev/null &&
    { has_libtorch cuda || [ -e "$cuda_home/include/nccl.h" ] || [ -e /usr/include/nccl.h ]; }
}
# Two at once: most of them keep one core busy, or wait for it.
main_suite() { ctest --test-dir build/release --parallel 2 --output-on-failure | tee "$log"; }
gpu_suite() { ctest --test-dir build/cuda -R '^gpu$|/nccl-' --output-on-failure; }
sanitized_suite() { ctest --test-dir build/asan-ubsan --parallel 2 -L sanitize --output-on-failure; }

# Where only the CUDA set is there it serves every configuration, and most of the CUDA build comes from the compiler cache.
if has_cuda; then launch/setup.sh --cuda; fi
launch/build.sh release all || exit
step "all tests" main_suite || failed+=("all tests")
launch/build.sh asan-ubsan sanitized_tests || failed+=("build for sanitizers")
step "tests under sanitizers" sanitized_suite || failed+=("tests under sanitizers")
if has_cuda; then
  if nvidia-smi -L >/dev/null 2>&1; then
    launch/build.sh cuda switchyard test_gpu test_comm_ranks || failed+=("build for CUDA")
    step "tests on a GPU" gpu_suite || failed+=("tests on a GPU")
  else
    launch/build.sh cuda || failed+=("build for CUDA")
  fi
else
  say "== no CUDA build: nvcc or NCCL's header is missing (launch/setup.sh --cuda brings the header)"
fi

if [ ${#failed[@]} != 0 ]; then printf '== FAILED: %s\n' "${failed[@]}"; fi
sed -n '/tests passed, /,$p' "$log"
exit $((${#failed[@]} > 0))
