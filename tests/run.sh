#!/usr/bin/env bash
# Set-up, lint and tests. Arguments go to pytest, for example `bash tests/run.sh -k delays`.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
ruff check .
ruff format --check .
python -m pytest "$@"
