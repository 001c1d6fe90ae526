#!/bin/sh
# check.sh BUILD: installs BUILD, moves the result and uses it from a project of its own.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
libtorch=$(sed -n 's/^SWITCHYARD_LIBTORCH:PATH=//p' "$1/CMakeCache.txt")
cmake --install "$1" --prefix "$work/first" >/dev/null
mv "$work/first" "$work/moved"
if grep -rl "$work/first" "$work/moved"; then
  echo "these files of the installed tree hold its first place"
  exit 1
fi
cmake -S "$here" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved" \
  -DCMAKE_BUILD_TYPE=Release "-DSWITCHYARD_LIBTORCH=$libtorch"
ninja -C "$work/build"
"$work/build/consumer"
"$work/moved/bin/switchyard" --version
