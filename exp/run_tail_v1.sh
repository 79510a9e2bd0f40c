#!/usr/bin/env bash
# tail_v1 from nothing: set-up, step A (no delay), step D (the delay matrix), step E (summary).
# Flags go to all three steps: `bash exp/run_tail_v1.sh --num-evals 8 --seeds 0`.
# EXP_DELTA_RUNS chooses another output folder than exp_runs.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh

runs=${EXP_DELTA_RUNS:-exp_runs}
python exp/run_stepA_baseline.py --output-root "$runs/stepA_baseline" "$@"
python exp/run_stepD_tail_v1.py --output-root "$runs/tail_v1" "$@"
python exp/summarize_tail_v1.py --output-root "$runs/tail_v1" --baseline-root "$runs/stepA_baseline" "$@"
