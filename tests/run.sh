#!/usr/bin/env bash
# Set-up, lint and tests. Arguments go to pytest: `bash tests/run.sh -m quick`, `bash tests/run.sh -k delays -n 0`.
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh
ruff check .
ruff format --check .
# What pytest and the check of arrays make of sources is kept, for the processes after this one.
unset PYTHONDONTWRITEBYTECODE
# A process needs up to 3 GB. A file's tests share what they compile.
python -m pytest -n auto --maxprocesses 4 --dist loadfile "$@"
