#!/usr/bin/env bash
# Every policy in logs-bc/libero/ from nothing: demonstrations by the scripted expert, a flow policy with chunks of 8 for
# all tasks of libero_spatial of three training seeds, and the first one's fine-tune for training-time RTC. What is there
# already is kept; a killed run goes on where it was. Needs LIBERO on state observations: docs/libero.md.
set -euo pipefail
cd "$(dirname "$0")/.."

for seed in 0 1 2; do
  name=h8$([ "$seed" = 0 ] || echo "_seed$seed")
  python exp/train_libero.py --config.seed "$seed" --output-path "logs-bc/libero/$name"
done
python exp/train_libero.py --output-path logs-bc/libero/h8_prefix --config.load-dir logs-bc/libero/h8 \
  --config.num-epochs 16 --config.save-every 16 --config.learning-rate 3e-4 --config.model.simulated-delay 5
