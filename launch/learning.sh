#!/usr/bin/env bash
# launch/learning.sh [--check] [--steps N] [--only NAME[,NAME...]] [--folder DIR] [--out FILE]
#
# Trains every routing and balancing method on the quick-start model and corpus, each for 800 steps on one rank
# and one thread, one per core at a time, and gathers docs/results/learning.json (excess loss, balance, dead experts
# and the command of each) with a picture beside it; prints the table of docs/balancing.md. What is finished is not
# run again; what was interrupted goes on from its checkpoint.
#
#   launch/learning.sh                                over an hour on two cores
#   launch/learning.sh --only aux,quantile --steps 20 --out /dev/stdout
#   launch/learning.sh --check                        only checks the config of every method
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

binary=${SWITCHYARD_BINARY:-$root/build/release/switchyard}
steps=800 only='' folder=runs/learning out=$root/docs/results/learning.json check=0
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --check) check=1 ;;
    --steps | --only | --folder | --out)
      [ $# -ge 2 ] || fail "$1 needs a value"
      printf -v "${1#--}" %s "$2"
      shift ;;
    *) fail "$1: unknown argument; allowed: --check, --steps, --only, --folder, --out" ;;
  esac
  shift
done
[[ $steps =~ ^[1-9][0-9]*$ ]] || fail "--steps $steps: a number of steps, at least 1"
[ -x "$binary" ] || fail "$binary is missing: run launch/build.sh first"

declare -a names=()
declare -A overrides=()
method() {  # method NAME OVERRIDE...: what it changes in configs/quickstart.yaml
  names+=("$1")
  overrides[$1]=$(printf '%s\n' "${@:2}")
}
# The quick start has top_k over softmax with K = 2, load_balance 1e-2 over the step and z 1e-3. A bias moves by its
# rate once a step, so a run this short takes a higher rate than the default.
method none 'moe.balance=[]'
method aux
method aux_1e-3 'moe.balance=[{type: load_balance, scope: step, coef: 1e-3}]'
method aux_exact 'moe.balance=[{type: load_balance, scope: step, f: exact, coef: 1e-2}]'
method aux_micro_batch 'moe.balance=[{type: load_balance, scope: micro_batch, coef: 1e-2}]'
method aux_sequence 'moe.balance=[{type: load_balance, scope: sequence, coef: 1e-2}]'
method aux_sigmoid moe.router.score=sigmoid
method entropy 'moe.balance=[{type: entropy, coef: 1e-2}]'
method orthogonal 'moe.balance=[{type: orthogonal, coef: 1e-2}]'
for rule in 'sign moe.bias.rate=0.003' 'proportional moe.bias.rate=0.01' 'multiplicative moe.bias.rate=0.003' \
  'pid moe.bias.kp=0.01 moe.bias.ki=0.001' quantile; do
  read -r name settings <<<"$rule"
  # shellcheck disable=SC2086  # a list of words
  method "${name/sign/loss_free}" moe.router.score=sigmoid 'moe.balance=[]' "moe.bias.type=$name" $settings
done
method switch moe.router.type=switch moe.top_k=1
method gshard moe.router.type=gshard 'moe.balance=[{type: load_balance, first_choice: true, coef: 1e-2}]'
method mixtral moe.router.type=mixtral
method deepseek_moe moe.router.type=deepseek_moe
method deepseek_v2 moe.router.type=deepseek_v2 moe.router.groups=4 moe.router.kept_groups=2 \
  'moe.balance=[{type: load_balance, scope: sequence, coef: 3e-3}, {type: device, groups: 4, coef: 5e-2}, {type: communication, groups: 4, coef: 2e-2}]'
method deepseek_v3 moe.router.type=deepseek_v3 moe.router.groups=4 moe.router.kept_groups=2 \
  'moe.balance=[{type: load_balance, scope: sequence, coef: 1e-4}]' moe.bias.type=sign moe.bias.rate=0.003
method noisy_top_k moe.router.type=noisy_top_k \
  'moe.balance=[{type: importance, coef: 1e-1}, {type: load, coef: 1e-1}]'
method gumbel moe.router.type=gumbel
method hierarchical moe.router.type=hierarchical 'moe.router.branches=[4, 4]' 'moe.router.kept=[1, 2]'
method relu moe.router.type=relu 'moe.balance=[]'
method soft moe.router.type=soft 'moe.balance=[]'
method hash_random moe.router.type=hash moe.router.table=random 'moe.balance=[]'
method hash_balanced moe.router.type=hash moe.router.table=balanced 'moe.balance=[]'
method hash_bigram moe.router.type=hash moe.router.table=bigram 'moe.balance=[]'
method base moe.router.type=base moe.top_k=1 'moe.balance=[]'
method sinkhorn moe.router.type=sinkhorn 'moe.balance=[]'
method expert_choice moe.router.type=expert_choice moe.router.pool=sequence 'moe.balance=[]'
method capacity moe.capacity.factor=1.25
method capacity_priority moe.capacity.factor=1.25 moe.capacity.order=batch_priority
method capacity_next_choice moe.capacity.factor=1.25 moe.capacity.overflow=next_choice

command_of() {  # command_of NAME: the words of its training, into the array `words`
  mapfile -t words < <(printf '%s' "${overrides[$1]}")
  words=(train configs/quickstart.yaml "${words[@]}" "train.steps=$steps" "run.name=$1"
    "run.dir=$folder/$1" run.threads=1 log.tensorboard=false)
}
train_one() {  # train_one NAME: quiet but for the verdict; a finished run shows its summary at once
  local -a words
  command_of "$1"
  mkdir -p "$folder"
  if "$binary" "${words[@]}" >"$folder/$1.log" 2>&1; then
    say "== $1: done"
  else
    say "== $1: FAILED, see $folder/$1.log: $(tail -n 1 "$folder/$1.log")"
    return 1
  fi
}

cd "$root"
chosen=("${names[@]}")
[ -z "$only" ] || IFS=, read -ra chosen <<<"$only"
for name in "${chosen[@]}"; do
  [ -n "${overrides[$name]+known}" ] || fail "--only $name: no such method; allowed: ${names[*]}"
  command_of "$name"
  "$binary" config check "${words[@]:1}" >/dev/null || exit 2
done
[ "$check" = 0 ] || { say "every method's config is good"; exit 0; }

failed=0 cores=$(env -u OMP_NUM_THREADS nproc)
for name in "${chosen[@]}"; do
  while [ "$(jobs -rp | wc -l)" -ge "$cores" ]; do wait -n || failed=1; done
  train_one "$name" &
done
while [ -n "$(jobs -p)" ]; do wait -n || { code=$?; [ $code = 127 ] && break; failed=1; }; done

for name in "${chosen[@]}"; do
  command_of "$name"
  printf '%s\t%s' "$name" "$folder/$name"
  printf '\t%s' switchyard "${words[@]}"
  echo
done | python3 "$root/launch/learning_results.py" "$out"
exit $failed
