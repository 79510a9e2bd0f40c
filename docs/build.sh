#!/usr/bin/env bash
# Builds the documentation as a static site in site/: pages of docs/, all reports, the reference, explorer, leaderboard.
# Needs the extra `docs`, whose exact versions are in docs/requirements.lock; they are installed into .venv where missing.
#   bash docs/build.sh                       then: python -m http.server -d site
set -euo pipefail
cd "$(dirname "$0")/.."
. exp/setup_env.sh

venv=${EXP_DELTA_VENV:-.venv}
stamp=$venv/.docs_installed
wanted=$(cat docs/requirements.lock requirements.lock | sha256sum)
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
  if command -v uv >/dev/null 2>&1; then
    VIRTUAL_ENV=$venv uv pip install --quiet -r docs/requirements.lock
  else
    "$(python -c 'import sys; print(sys._base_executable)')" -m pip --python "$venv/bin/python" --quiet \
      --disable-pip-version-check install -r docs/requirements.lock
  fi
  echo "$wanted" > "$stamp"
fi
python exp/stage_site.py
mkdocs build --clean --strict --config-file build/mkdocs.yml
echo "open first: site/index.html"
