#!/usr/bin/env bash
# Every policy in logs-bc/ from nothing, level by level: experts, demonstrations, a flow policy with chunks of 8, and
# its fine-tune for training-time RTC. What is there already is kept; a killed run goes on where it was.
#   bash exp/train_all.sh                                    all 12 levels, logs-bc/h8
#   bash exp/train_all.sh --preset published_recipe          the same by the published recipe, logs-bc/published_recipe
#   bash exp/train_all.sh catapult car_launch                some of them
# NUM_EXPERTS is the number of experts per level. A level that fails is reported at the end; the others go on.
#   h8: experts that see one tick; their mode is imitated.
#   published_recipe: experts that see the last four ticks; what they drew is imitated, one million transitions of it.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
. exp/levels.sh

preset=h8
if [ "${1:-}" = --preset ]; then
  preset=${2:-}
  shift 2 || true
fi
case $preset in
  h8)
    experts=logs-expert/benchmark
    of_experts=() of_data=() of_policies=(--config.save-every 16 --config.also-save 2) of_prefix=(--config.num-epochs 4)
    ;;
  published_recipe)
    experts=logs-expert/history4
    # Longer histories are harder to learn from: those experts are given up later.
    of_experts=(--config.history 4 --config.patience 200)
    of_data=(--config.folder data_all --config.num-transitions 1000000)
    drawn=(--config.data data_all --config.labels drawn --config.max-transitions 1000000)
    of_policies=("${drawn[@]}" --config.num-epochs 8 --config.save-every 8 --config.also-save 1)
    of_prefix=("${drawn[@]}" --config.num-epochs 2 --config.save-every 2)
    ;;
  *)
    echo "error: --preset '$preset' is not one of: h8, published_recipe" >&2
    exit 1
    ;;
esac
choose_levels "benchmark_levels" "$@"

train() {
  local level=worlds/l/$1.json chunk=(--config.model.action-chunk-size 8)
  demonstrations "$1" "$experts" &&
    python src/train_flow.py --level-paths "$level" --config.run-path "$experts" --output-path "logs-bc/$preset" \
      "${chunk[@]}" "${of_policies[@]}" &&
    python src/train_flow.py --level-paths "$level" --config.run-path "$experts" \
      --output-path "logs-bc/${preset}_prefix" --config.load-dir "logs-bc/$preset" \
      "${chunk[@]}" --config.model.simulated-delay 5 "${of_prefix[@]}"
}

train_each "${levels[@]}"
python exp/report_training.py
report_failed
