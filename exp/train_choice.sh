#!/usr/bin/env bash
# Every policy in logs-bc/choice/ from nothing: demonstrations of two tasks with two right answers by the scripted expert,
# then flow, its fine-tune for training-time RTC, L1 regression, and the token policies of RSD and FAST. What is there
# already is kept; a killed run goes on where it was. Needs LIBERO on state observations (docs/libero.md) and the extra
# `fast`. EPISODES, EPOCHS and TOKEN_EPOCHS make it smaller; OUT and EXPERTS are other folders,
# which a smaller run needs.
set -euo pipefail
cd "$(dirname "$0")/.."

out=${OUT:-logs-bc/choice} experts=${EXPERTS:-logs-expert/libero_choice} epochs=${EPOCHS:-256}
train=(python exp/train_libero.py --recording.suite libero_choice --recording.episodes "${EPISODES:-40}"
  --config.run-path "$experts")

"${train[@]}" --config.num-epochs "$epochs" --config.save-every "$epochs" --output-path "$out/h8"
"${train[@]}" --config.num-epochs "$epochs" --config.save-every "$epochs" --output-path "$out/l1" --config.loss l1
tuning=$(((epochs + 3) / 4))
"${train[@]}" --config.num-epochs "$tuning" --config.save-every "$tuning" --output-path "$out/h8_prefix" \
  --config.load-dir "$out/h8" --config.learning-rate 3e-4 --config.model.simulated-delay 5
tokens=${TOKEN_EPOCHS:-60}
python exp/train_tokens.py --world libero_choice:two_bowls --data-run "$experts" --run-path "$out/tokens" \
  --models blocks draft fast --tokenizer.num-epochs "$tokens" --policy.num-epochs "$tokens"
