#!/usr/bin/env bash
# Policies with longer chunks, logs-bc/h16 and logs-bc/h32, and their fine-tunes for training-time RTC, level by level, from
# the experts and demonstrations of exp/train_all.sh (same flags: made here where they are not there yet). What is there
# already is kept; a killed run goes on where it was.
#   bash exp/train_chunks.sh                 the four levels that have chunks of 4 too (study L)
#   bash exp/train_chunks.sh grasp_easy      some of them
# CHUNKS are the lengths. Longer chunks are harder to learn and take longer: 8 passes over the data instead of the 16 of chunks
# of 8, in batches of 128 instead of 512, so twice as many updates.
# A level that fails is reported at the end; the others go on.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
. exp/levels.sh

experts=logs-expert/benchmark
batches=(--config.batch-size 128 --config.parts 4)
choose_levels "study_levels exp/studies/noise.toml" "$@"

# Fine-tuned on delays of 0 to 12 ticks, what exp/run_delay_sweep.py asks of them.
chunks_of() {
  local level=worlds/l/$1.json of=(--config.model.action-chunk-size "$2")
  python src/train_flow.py --level-paths "$level" --config.run-path "$experts" --output-path "logs-bc/h$2" \
    "${of[@]}" "${batches[@]}" --config.num-epochs 8 --config.save-every 8 &&
    python src/train_flow.py --level-paths "$level" --config.run-path "$experts" --output-path "logs-bc/h$2_prefix" \
      --config.load-dir "logs-bc/h$2" "${of[@]}" "${batches[@]}" --config.model.simulated-delay 13 \
      --config.num-epochs 2 --config.save-every 2
}

train() {
  local size
  demonstrations "$1" "$experts" || return
  for size in ${CHUNKS:-16 32}; do
    chunks_of "$1" "$size" || return
  done
}

train_each "${levels[@]}"
report_failed
