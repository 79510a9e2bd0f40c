#!/usr/bin/env bash
# The policies that only some studies need, from the demonstrations of exp/train_all.sh: chunks of 4 with their
# fine-tune for training-time RTC (study L). What is there already is kept; a killed run goes on where it was.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
. exp/levels.sh

experts=logs-expert/benchmark
chunk=4
mapfile -t noise_levels < <(study_levels exp/studies/noise.toml)

for name in "${noise_levels[@]}"; do
  level=worlds/l/$name.json
  python src/train_flow.py --level-paths "$level" --config.run-path "$experts" --output-path logs-bc/h4 \
    --config.model.action-chunk-size "$chunk" --config.save-every 16
  python src/train_flow.py --level-paths "$level" --config.run-path "$experts" --output-path logs-bc/h4_prefix \
    --config.load-dir logs-bc/h4 --config.num-epochs 4 \
    --config.model.action-chunk-size "$chunk" --config.model.simulated-delay "$chunk"
done
