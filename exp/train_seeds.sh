#!/usr/bin/env bash
# The recipe of logs-bc/h8 from other seeds, end to end: experts, demonstrations and policy, in logs-bc/h8_end_to_end_<seed>.
# h8 itself is the first. What is there already is kept; a killed run goes on where it was.
#   bash exp/train_seeds.sh                  seeds 1 to 4 of two levels, 1 and 2 of four more
#   SEED=1 bash exp/train_seeds.sh LEVEL     one seed of one level
# A level that fails is reported at the end; the others go on.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
. exp/levels.sh

# Experts of seed k are 10 k, 10 k + 1, 10 k + 2: none of h8's, and none of another k's.
pipeline() {
  local experts=logs-expert/end_to_end_$2 of_experts=(--config.seed $((10 * $2)))
  demonstrations "$1" "$experts" &&
    python src/train_flow.py --level-paths "worlds/l/$1.json" --config.run-path "$experts" --config.seed "$2" \
      --output-path "logs-bc/h8_end_to_end_$2" --config.model.action-chunk-size 8 --config.save-every 16
}

train() {
  local seed
  for seed in ${SEED:-$(seeds_of "$1")}; do
    pipeline "$1" "$seed" || return
  done
}

# Five seeds with h8's where study M has policies cloned with other seeds, three elsewhere.
mapfile -t many < <(study_levels exp/studies/training_seeds.toml)
seeds_of() {
  case " ${many[*]} " in *" $1 "*) echo 1 2 3 4 ;; *) echo 1 2 ;; esac
}

levels=("$@")
if [ $# -eq 0 ]; then
  levels=("${many[@]}" cartpole_thrust mjc_walker catcher_v3 car_launch)
fi
train_each "${levels[@]}"
report_failed
