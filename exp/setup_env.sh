#!/usr/bin/env bash
# Makes the locked Python environment in .venv (uv where present, else venv + pip) and puts it on PATH.
# Source it from the repository root: `. exp/setup_env.sh`. EXP_DELTA_VENV chooses another folder.
set -euo pipefail

venv=${EXP_DELTA_VENV:-.venv}
stamp=$venv/.installed
wanted=$(cat requirements.lock pyproject.toml | sha256sum)

if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  echo "Setting up $venv from requirements.lock (a few minutes the first time) …"
  if command -v uv >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] || uv venv --quiet --python ">=3.11,<3.13" "$venv"
    VIRTUAL_ENV=$venv uv pip install --quiet -r requirements.lock
    VIRTUAL_ENV=$venv uv pip install --quiet --no-deps -e .
  else
    [ -x "$venv/bin/python" ] || python3 -m venv "$venv"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r requirements.lock
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -e .
  fi
  echo "$wanted" > "$stamp"
fi
PATH=$(cd "$venv/bin" && pwd):$PATH
export PATH
