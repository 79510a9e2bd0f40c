#!/usr/bin/env bash
# Every policy in logs-bc/ from nothing, level by level: experts, demonstrations, a flow policy with chunks of 8, and
# its fine-tune for training-time RTC. What is there already is kept; a killed run goes on where it was.
#   bash exp/train_all.sh                         all 12 levels
#   bash exp/train_all.sh catapult car_launch     some of them
# SEEDS is the number of experts per level. A level that fails is reported at the end; the others go on.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh

experts=logs-expert/benchmark
chunk=8
weak_epoch=2
levels=("$@")
if [ $# -eq 0 ]; then
  mapfile -t levels < <(python -c 'from rtc.worlds.kinetix.levels import LEVEL_NAMES; print(*LEVEL_NAMES, sep="\n")')
fi

train() {
  local level=worlds/l/$1.json
  python src/train_expert.py --level-paths "$level" --run-path "$experts" --config.num-seeds "${SEEDS:-3}" &&
    python src/generate_data.py --level-paths "$level" --config.run-path "$experts" &&
    python src/train_flow.py --level-paths "$level" --config.run-path "$experts" --output-path logs-bc/h8 \
      --config.model.action-chunk-size "$chunk" --config.save-every 16 --config.also-save "$weak_epoch" &&
    python src/train_flow.py --level-paths "$level" --config.run-path "$experts" --output-path logs-bc/h8_prefix \
      --config.load-dir logs-bc/h8 --config.num-epochs 4 \
      --config.model.action-chunk-size "$chunk" --config.model.simulated-delay 5
}

failed=()
for i in "${!levels[@]}"; do
  echo "== ${levels[$i]} (level $((i + 1)) of ${#levels[@]})"
  train "${levels[$i]}" || failed+=("${levels[$i]}")
done
python exp/report_training.py
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed: ${failed[*]}" >&2
  exit 1
fi
