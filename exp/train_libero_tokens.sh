#!/usr/bin/env bash
# The other policies of LIBERO on state observations, beside the flow policies of exp/train_libero.sh, whose demonstrations
# they learn: L1 regression, and the token policies of RSD and FAST. What is there already is kept; a killed run goes on
# where it was. Needs the extra `fast`: docs/libero.md.
set -euo pipefail
cd "$(dirname "$0")/.."

for seed in ${SEEDS:-0 1 2}; do
  suffix=$([ "$seed" = 0 ] || echo "_seed$seed")
  python exp/train_libero.py --config.loss l1 --config.seed "$seed" --output-path "logs-bc/libero/l1$suffix"
  python exp/train_tokens.py --world libero_state:libero_spatial_0 --data-run logs-expert/libero_spatial \
    --run-path "logs-bc/libero/tokens$suffix" --models blocks draft fast \
    --tokenizer.num-epochs 20 --tokenizer.seed "$seed" --policy.num-epochs 20 --policy.seed "$seed"
done
