# shellcheck shell=bash
# Sourced by the scripts beside it: where things are, and how a step is announced and timed.
set -euo pipefail
root=$(CDPATH="" cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/switchyard
libtorch_version=2.11.0

say() { printf '%s\n' "$*" >&2; }
fail() {  # fail TEXT: one line, exit 2 (bad usage or a missing input)
  say "error: [${0##*/}] $*"
  exit 2
}
step() {  # step TEXT COMMAND...: says what runs and how long it took
  local text=$1 from=$EPOCHREALTIME code=0 verdict=ok
  shift
  say "== $text"
  "$@" || { code=$? verdict="FAILED (exit code $?)"; }
  say "== $text: $verdict, $(elapsed "$from") s"
  return "$code"
}
elapsed() {  # elapsed FROM: seconds since then, with one decimal
  local microseconds=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}))
  printf '%d.%d' $((microseconds / 1000000)) $((microseconds / 100000 % 10))
}
usage() {  # usage: prints the comment at the top of the calling script
  sed -n '2,/^[^#]/{/^#/s/^# \{0,1\}//p}' "$0"
}
has_libtorch() {  # has_libtorch SET: the folder appears by one rename, so it is there whole or not at all
  compgen -G "$cache/libtorch-$libtorch_version-$1/lib/python3*/site-packages/torch/lib/libtorch_cpu.so" >/dev/null
}
