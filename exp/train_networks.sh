#!/usr/bin/env bash
# The networks that methods need beside a run's policies, level by level: forward models, correction heads, heads that act
# alone, latent predictors, policies for vlash (in the run h8_vlash), correction heads for the policies of training-time
# RTC, and experts of the delayed decision process. What is there already is kept; a killed run goes on where it was. A
# level that fails is reported at the end; the others go on. NUM_EXPERTS is the number of those experts per level, 1 by
# default; the best of them acts.
#   bash exp/train_networks.sh                       all 12 levels of logs-bc/h8 and logs-bc/h8_prefix
#   bash exp/train_networks.sh --run published_recipe catapult car_launch
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
. exp/levels.sh

run=h8
if [ "${1:-}" = --run ]; then
  run=${2:?name a run in logs-bc}
  shift 2
fi
choose_levels "benchmark_levels" "$@"

networks() {
  python src/train_networks.py --run-path "logs-bc/$1" --level-paths "$2" --kinds "${@:3}"
}

# Of an expert that never solved an episode there is no checkpoint, and delay_expert stays without that level.
train() {
  networks "$run" "$1" forward correction head_only latent vlash &&
    networks "${run}_prefix" "$1" correction &&
    python src/train_expert.py --run-path logs-expert/delay12 --level-paths "$1" --config.delay 12 \
      --config.num-seeds "${NUM_EXPERTS:-1}" &&
    networks "$run" "$1" delay_expert --experts logs-expert/delay12
}

train_each "${levels[@]}"
python exp/report_networks.py
report_failed
