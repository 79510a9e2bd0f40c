#!/usr/bin/env bash
# Every policy in logs-bc/routes/ from nothing: demonstrations of both routes of worlds/choice/two_routes.json by a scripted
# expert, then flow, its fine-tune for training-time RTC, L1 regression, and the token policies of RSD and FAST. What is
# there already is kept; a killed run goes on where it was. EPISODES, EPOCHS and TOKEN_EPOCHS make it smaller; OUT and EXPERTS
# are other folders, which a smaller run needs.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh

out=${OUT:-logs-bc/routes} experts=${EXPERTS:-logs-expert/two_routes} epochs=${EPOCHS:-32} level=worlds/choice/two_routes.json
python exp/route_demonstrations.py --config.episodes "${EPISODES:-400}" --folder "$experts/data"
train=(python src/train_flow.py --level-paths "$level" --config.run-path "$experts" --config.model.action-chunk-size 8
  --config.batch-size 256 --config.parts 4 --config.ema-decay 0.998)

"${train[@]}" --config.num-epochs "$epochs" --config.save-every "$epochs" --config.warmup-steps 200 --output-path "$out/h8"
"${train[@]}" --config.num-epochs "$epochs" --config.save-every "$epochs" --config.warmup-steps 200 --output-path "$out/l1" \
  --config.loss l1
tuning=$(((epochs + 3) / 4))
"${train[@]}" --config.num-epochs "$tuning" --config.save-every "$tuning" --config.warmup-steps 200 \
  --output-path "$out/h8_prefix" --config.load-dir "$out/h8" --config.model.simulated-delay 5
tokens=${TOKEN_EPOCHS:-10}
python exp/train_tokens.py --world "$level" --data-run "$experts" --run-path "$out/tokens" --models blocks draft fast \
  --tokenizer.num-epochs "$tokens" --policy.num-epochs "$tokens"
