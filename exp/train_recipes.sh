#!/usr/bin/env bash
# The policies of exp/studies/recipe.toml, level by level: experts that see one tick and four, two recordings of each,
# and eight policies. What is there already is kept; a killed run goes on where it was.
#   bash exp/train_recipes.sh                     the study's levels
#   bash exp/train_recipes.sh cartpole_thrust     some of them
# JOBS policies are trained side by side, on a core each; NUM_EXPERTS is the number of experts per level and view. A level that
# fails is reported at the end; the others go on.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
. exp/levels.sh

study=exp/studies/recipe.toml
levels=("$@")
of_study() { python -c "import sys, tomllib; study = tomllib.load(open('$study', 'rb')); $1"; }
if [ $# -eq 0 ]; then
  mapfile -t levels < <(of_study 'print(*study["levels"], sep="\n")')
fi

cores=$(python -c 'import os; print(*sorted(os.sched_getaffinity(0)))')
jobs=${JOBS:-$(wc -w <<< "$cores")}
if [ "$jobs" -gt "$(wc -w <<< "$cores")" ]; then
  echo "error: JOBS=$jobs exceeds the $(wc -w <<< "$cores") cores" >&2
  exit 1
fi
export cores

# On the core of this job's number, as one device.
one_core() {
  local all=($cores)
  EXP_DELTA_CPU_DEVICES=1 taskset -c "${all[$SLOT]}" python "$@"
}

# Longer histories are harder to learn from: those experts are given up later.
# Experts that see this tick alone go to the folder of exp/train_all.sh, which trains the same ones where it has one core.
run_of() { if [ "$1" = 1 ]; then echo logs-expert/benchmark; else echo "logs-expert/history$1"; fi; }

experts() {
  local patience=()
  if [ "$2" != 1 ]; then patience=(--config.patience 200); fi
  one_core src/train_expert.py --level-paths "worlds/l/$1.json" --run-path "$(run_of "$2")" \
    --config.history "$2" --config.num-seeds "${NUM_EXPERTS:-3}" "${patience[@]}"
}

record() {
  local limit=()
  if [ "$3" = one ]; then limit=(--config.max-experts 1); fi
  one_core src/generate_data.py --level-paths "worlds/l/$1.json" --config.run-path "$(run_of "$2")" \
    --config.folder "data_$3" --config.num-transitions 1000000 "${limit[@]}"
}

# As many updates with either amount of data, half of what the shipped policies had.
clone() {
  one_core src/train_flow.py --level-paths "worlds/l/$1.json" --config.run-path "$(run_of "$4")" \
    --config.data "data_$5" --config.labels "$3" --config.max-transitions "$6" --config.num-epochs "$7" \
    --config.save-every "$7" --config.also-last --config.model.action-chunk-size 8 --output-path "logs-bc/recipe/$2"
}

export -f one_core run_of experts record clone
parallel() { xargs -P "$jobs" --process-slot-var=SLOT -L 1 bash -c '"$@"' _; }

train() {
  printf "experts $1 %s\n" 1 4 | parallel &&
    printf "record $1 %s %s\n" 1 one 4 one 1 all 4 all | parallel &&
    of_study "[print('clone $1', r['name'], r['labels'], r['view'], r['experts'], round(r['data'] * 1e6),
      round(4 / r['data'])) for r in study['axes']['recipe']]" | parallel
}

train_each "${levels[@]}"
report_failed
