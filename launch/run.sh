#!/usr/bin/env bash
# launch/run.sh -n N [--host LIST | --hostfile FILE] COMMAND...
#
# mpirun with the binding, oversubscription and root settings that fit this machine. COMMAND is a
# program, or a command of switchyard, which stands for build/release/switchyard:
#
#   launch/run.sh -n 2 train configs/quickstart.yaml train.steps=50
#   launch/run.sh -n 8 --host one:4,two:4 "$PWD/build/release/switchyard" train configs/quickstart.yaml
#
#   OMP_NUM_THREADS=N   threads per rank (default: the cores shared out to the ranks of a host)
#   SWITCHYARD_PRESET=P use build/P/switchyard
# SIGUSR1 to this process saves and goes on, SIGUSR2 saves and stops (exit code 75).
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ranks='' hosts=1 options=()
while [ $# -gt 0 ]; do
  case $1 in
    -n | -np) ranks=${2:-}; shift 2 || fail "-n needs a number of ranks" ;;
    --host) hosts=$(tr ',' '\n' <<<"${2:-}" | sed 's/:.*//' | sort -u | wc -l); options+=("$1" "${2:-}"); shift 2 ;;
    --hostfile)
      [ -r "${2:-}" ] || fail "--hostfile needs a file that can be read, got '${2:-}'"
      hosts=$(sed 's/#.*//; /^ *$/d' "$2" | awk '{print $1}' | sort -u | wc -l); options+=("$1" "$2"); shift 2 ;;
    -h | --help) usage; exit 0 ;;
    -*) fail "unknown option '$1'; known: -n, --host, --hostfile, --help" ;;
    *) break ;;
  esac
done
[[ $ranks =~ ^[1-9][0-9]*$ ]] || fail "-n needs a number of ranks ≥ 1, got '$ranks'"
[ $# -gt 0 ] || fail "no command; for example: launch/run.sh -n 2 train configs/quickstart.yaml"
case $1 in
  train | eval | generate | doctor | data | ckpt | config | bench)
    set -- "$root/build/${SWITCHYARD_PRESET:-release}/switchyard" "$@"
    [ -x "$1" ] || fail "$1 is not built; run launch/build.sh ${SWITCHYARD_PRESET:-release}" ;;
esac

if [ "$hosts" = 1 ] && [ "${SLURM_NNODES:-1}" -gt 1 ]; then hosts=$SLURM_NNODES; fi
local_ranks=$(((ranks + hosts - 1) / hosts))
usable=$(env -u OMP_NUM_THREADS nproc)
physical=$(lscpu -p=CORE,SOCKET 2>/dev/null | grep -v '^#' | sort -u | wc -l)
cores=$((physical > 0 && physical < usable ? physical : usable))
threads=${OMP_NUM_THREADS:-$((cores > local_ranks ? cores / local_ranks : 1))}

# A rank gets whole cores of its own when there are enough and none is withheld from this process.
if [ $((local_ranks * threads)) -le "$cores" ] && [ "$(env -u OMP_NUM_THREADS nproc --all)" = "$(env -u OMP_NUM_THREADS nproc)" ]; then
  options+=(--map-by "slot:PE=$threads" --bind-to core)
else
  options+=(--bind-to none)
fi
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
export OMP_NUM_THREADS=$threads
exec mpirun -n "$ranks" "${options[@]}" --oversubscribe -x OMP_NUM_THREADS "$@"
