#!/usr/bin/env bash
# launch/quickstart.sh [key.path=value ...]
#
# From a fresh clone to a trained mixture-of-experts model: sets up, builds, trains configs/quickstart.yaml
# with its experts sharded over two ranks, and says what to look at. Further arguments go to the training:
#
#   launch/quickstart.sh train.steps=600 run.name=longer
#
# A second call needs no network and no build; a finished run shows its summary again.
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case ${1:-} in -h | --help) usage; exit 0 ;; esac
cd "$root"
launch/build.sh release

folder=runs/quickstart
for argument in "$@"; do
  case $argument in
    run.name=*) folder=runs/${argument#*=} ;;
    run.dir=*) folder=${argument#*=}; break ;;
  esac
done
say "== mpirun -n 2 build/release/switchyard train configs/quickstart.yaml $*"
launch/run.sh -n 2 train configs/quickstart.yaml "$@"

cat <<END

Look at
  $folder/summary.json     excess_loss: nats above the corpus's known entropy (0 is perfect); max_vio_global: load imbalance
  $folder/metrics.jsonl    one line a logged step, with the load of every expert in every layer
  $folder/config.yaml      every value this run used, and where it came from
Try next
  build/release/switchyard eval $folder
  launch/quickstart.sh run.name=no_balance moe.balance=[]        what happens without a balance loss
  launch/quickstart.sh run.name=top_1 moe.top_k=1                one expert per token
  launch/run.sh -n 2 train configs/text_domains.yaml             eight domains of real text
  build/release/switchyard config explain moe.router             what a key means
END
