#!/usr/bin/env bash
# The networks that methods need beside a run's policies, level by level: forward models, correction heads, heads that act
# alone, latent predictors, experts of the delayed decision process, and correction heads for the policies of
# training-time RTC. What is there already is kept; a killed run goes on where it was.
#   bash exp/train_networks.sh                       all 12 levels of logs-bc/h8 and logs-bc/h8_prefix
#   bash exp/train_networks.sh --run published_recipe catapult car_launch
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh

run=h8
if [ "${1:-}" = --run ]; then
  run=${2:?name a run in logs-bc}
  shift 2
fi
levels=("${@:-all}")
python src/train_networks.py --run-path "logs-bc/$run" --level-paths "${levels[@]}" \
  --kinds forward correction head_only latent
python src/train_expert.py --run-path logs-expert/delay8 --level-paths "${levels[@]}" --config.delay 8
python src/train_networks.py --run-path "logs-bc/$run" --level-paths "${levels[@]}" --kinds delay_expert \
  --experts logs-expert/delay8
python src/train_networks.py --run-path "logs-bc/${run}_prefix" --level-paths "${levels[@]}" --kinds correction
