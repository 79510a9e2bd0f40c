#!/usr/bin/env bash
# Makes the locked Python environment in .venv (uv where present, else venv + pip) and puts it on PATH.
# Scripts source it from the repository root: `. exp/setup_env.sh`. EXP_DELTA_VENV chooses another folder.

venv=${EXP_DELTA_VENV:-.venv}
stamp=$venv/.installed
wanted=$(pwd; cat requirements.lock pyproject.toml)
wanted=$(echo "$wanted" | sha256sum)

if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  echo "Setting up $venv from requirements.lock (a few minutes the first time) …"
  if command -v uv >/dev/null 2>&1; then
    [ -x "$venv/bin/python" ] || uv venv --quiet --python ">=3.11,<3.13" "$venv"
    pip_here="env VIRTUAL_ENV=$venv uv pip install --quiet"
  else
    # In a shell where a virtual environment is active already, the Python behind it is meant, which has pip.
    python=$(python3 -c 'import sys; print(sys._base_executable)')
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' ||
      { echo "error: Python 3.11 or 3.12 is needed, this is $("$python" --version)" >&2; return 1 2>/dev/null || exit 1; }
    # Without pip inside, so that Debian's separate python3-venv package is not needed.
    [ -x "$venv/bin/python" ] || "$python" -m venv --without-pip "$venv"
    pip_here="$python -m pip --python $venv/bin/python --quiet --disable-pip-version-check install"
  fi
  if ! { $pip_here -r requirements.lock && $pip_here --no-deps -e .; }; then
    echo "error: $venv could not be set up; delete it to start afresh" >&2
    return 1 2>/dev/null || exit 1
  fi
  echo "$wanted" > "$stamp"
fi
PATH=$(cd "$venv/bin" && pwd):$PATH
export PATH
