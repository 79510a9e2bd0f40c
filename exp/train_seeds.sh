#!/usr/bin/env bash
# The recipe of logs-bc/h8 from other seeds, end to end: experts, demonstrations, policy, forward model and correction head, in
# logs-bc/h8_end_to_end_<seed> (study M; h8 itself is the first seed), and with chunks of 4 on tail_v1's level, in
# logs-bc/h4_end_to_end_1. What is there already is kept; a killed run goes on where it was.
#   bash exp/train_seeds.sh                  seeds 1 and 2 of the study's levels
#   SEEDS="1 2 3 4" bash exp/train_seeds.sh grasp_easy cartpole_thrust     five seeds (exp/studies/five_seeds.toml)
# A level that fails is reported at the end; the others go on.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
. exp/levels.sh

# Experts try seeds from 100 k on. (Those of the shipped policies tried seeds from 10 k on, and all recorded with seed 0.)
demonstrations_of() {
  local of_experts=(--config.seed $((100 * $2))) of_data=(--config.seed "$2")
  demonstrations "$1" "logs-expert/end_to_end_$2"
}

# clone LEVEL SEED CHUNK
clone() {
  python src/train_flow.py --level-paths "worlds/l/$1.json" --config.run-path "logs-expert/end_to_end_$2" --config.seed "$2" \
    --output-path "logs-bc/h$3_end_to_end_$2" --config.model.action-chunk-size "$3" --config.save-every 16
}

networks() {
  python src/train_networks.py --run-path "logs-bc/h8_end_to_end_$2" --level-paths "worlds/l/$1.json" \
    --kinds forward correction --recording.seed $((1000 + $2)) --forward.seed "$2" --head.seed "$2"
}

# The level and the seed of which there are chunks of 4, too.
tail_v1="grasp_easy 1"

pipeline() {
  demonstrations_of "$1" "$2" && clone "$1" "$2" 8 &&
    networks "$1" "$2" && { [ "$1 $2" != "$tail_v1" ] || clone "$1" "$2" 4; }
}

train() {
  local seed
  for seed in ${SEEDS:-1 2}; do
    if ! [ "$seed" -ge 1 ]; then
      echo "error: SEEDS=$seed must be at least 1: 0 is logs-bc/h8" >&2
      return 1
    fi
    pipeline "$1" "$seed" || return
  done
}

choose_levels "study_levels exp/studies/training_seeds.toml" "$@"
train_each "${levels[@]}"
report_failed
