#!/usr/bin/env bash
# The policies of exp/studies/sizes.toml: the recipe of logs-bc/h8 with networks of 0.14, 0.65 and 3.1 million parameters (the
# last as published), after 4 passes over the demonstrations; logs-bc/h8 is the smallest after 16. Experts and demonstrations are
# those of exp/train_all.sh (made here where they are not there yet). What is there already is kept; a killed run goes on where
# it was.
#   bash exp/train_sizes.sh                  the study's levels
#   bash exp/train_sizes.sh grasp_easy       some of them
# A level that fails is reported at the end; the others go on.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
. exp/levels.sh

experts=logs-expert/benchmark
choose_levels "study_levels exp/studies/sizes.toml" "$@"

# Widths of the channels, of their hidden layer and of the tokens' hidden layer, and layers.
small="64 128 32 2"
middle="128 256 64 3"
published="256 512 64 4"

# clone LEVEL CHANNELS HIDDEN TOKENS LAYERS
clone() {
  python src/train_flow.py --level-paths "worlds/l/$1.json" --config.run-path "$experts" --output-path "logs-bc/sizes/width$2_passes4" \
    --config.num-epochs 4 --config.save-every 4 --config.model.action-chunk-size 8 --config.model.channel-dim "$2" \
    --config.model.channel-hidden-dim "$3" --config.model.token-hidden-dim "$4" --config.model.num-layers "$5"
}

train() {
  demonstrations "$1" "$experts" && clone "$1" $small && clone "$1" $middle && clone "$1" $published
}

train_each "${levels[@]}"
report_failed
