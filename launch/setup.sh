#!/usr/bin/env bash
# launch/setup.sh [--cuda]
#
# Gets what the build needs and this machine lacks: Debian packages (as root or through sudo) and
# LibTorch, in a cache in the user's home that all clones share. Uses the network only for what is
# missing; a second call changes nothing.
#
#   --cuda                  LibTorch with its CUDA libraries and NCCL (4.6 GB; without: 1.3 GB)
#   SWITCHYARD_LIBTORCH=DIR use this LibTorch (the folder with include/ and lib/), download none
#   XDG_CACHE_HOME=DIR      cache folder, ~/.cache by default
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

packages=(g++ cmake ninja-build ccache python3 python3-venv python3-numpy openmpi-bin libopenmpi-dev
  libyaml-cpp-dev libcli11-dev nlohmann-json3-dev libfmt-dev libxxhash-dev catch2)

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || echo "$package"
  done
}

install_packages() {
  local missing
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: these have to be there already: ${packages[*]}"
    return
  fi
  missing=$(missing_packages | tr '\n' ' ')
  missing=${missing% }
  if [ -z "$missing" ]; then return; fi
  local as_root=()
  if [ "$(id -u)" != 0 ]; then
    as_root=(sudo)
    if ! command -v sudo >/dev/null || ! { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
      say "error: [setup.sh] packages are missing and this user may not install them; run as root:"
      say "apt-get update && apt-get install -y --no-install-recommends $missing"
      exit 2
    fi
  fi
  step "Debian packages: $missing" apt_install "$missing"
}

apt_install() {
  local log
  log=$(mktemp)
  # shellcheck disable=SC2086  # a list of words
  if ! { "${as_root[@]}" apt-get update -q &&
         "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
           apt-get install -q -y --no-install-recommends $1; } >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    fail "apt-get could not install: $1"
  fi
  rm -f "$log"
}

check_own_libtorch() {
  local dir=$SWITCHYARD_LIBTORCH
  [ -e "$dir/include/ATen/ATen.h" ] && [ -e "$dir/lib/libtorch_cpu.so" ] ||
    fail "SWITCHYARD_LIBTORCH=$dir has no include/ATen/ATen.h or no lib/libtorch_cpu.so"
}

# The wheel's C++ libraries need no Python; a virtual environment is the plainest way to unpack it.
download_libtorch() {
  local name=libtorch-$libtorch_version-$1 python=/usr/bin/python3
  [ -x "$python" ] || python=python3
  exec 9>"$cache/$name.lock"
  flock 9
  if has_libtorch "$1"; then return; fi
  local partial=$cache/$name.partial wheels=("torch==$libtorch_version")
  if [ "$1" = cpu ]; then
    # libtorch_cpu.so loads these two of CUDA's libraries, and no others.
    wheels=(--no-deps "${wheels[@]}" nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
  fi
  rm -rf "$partial" "${cache:?}/$name" &&
    "$python" -m venv "$partial" &&
    "$partial/bin/python" -m pip install --quiet --disable-pip-version-check --no-cache-dir "${wheels[@]}" >&2 &&
    mv -T "$partial" "$cache/$name" ||
    fail "could not install ${wheels[*]} with pip; SWITCHYARD_LIBTORCH=DIR takes a LibTorch of your own"
  exec 9>&-
}

variant=cpu
case ${1:-} in
  '') ;;
  --cuda) variant=cuda ;;
  -h | --help) usage; exit 0 ;;
  *) fail "unknown option '$1'; known: --cuda, --help" ;;
esac

from=$EPOCHREALTIME
install_packages
if [ -n "${SWITCHYARD_LIBTORCH:-}" ]; then
  check_own_libtorch
elif ! has_libtorch "$variant" && { [ "$variant" = cuda ] || ! has_libtorch cuda; }; then
  mkdir -p "$cache"
  step "LibTorch $libtorch_version ($variant) into $cache" download_libtorch "$variant"
fi
say "== set-up is complete ($(elapsed "$from") s)"
