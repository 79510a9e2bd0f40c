# Sourced by the training scripts: a level that fails is reported at the end; the others go on.

# Names of the benchmark's levels, one per line.
benchmark_levels() {
  python -c 'from rtc.worlds.kinetix.levels import LEVEL_NAMES; print(*LEVEL_NAMES, sep="\n")'
}

# Calls `train LEVEL` for every level; `failed` holds those that failed.
train_each() {
  local i=0 level
  failed=()
  for level in "$@"; do
    i=$((i + 1))
    echo "== $level (level $i of $#)"
    train "$level" || failed+=("$level")
  done
}

# Exits with 1 where a level failed.
report_failed() {
  if [ ${#failed[@]} -gt 0 ]; then
    echo "failed: ${failed[*]}" >&2
    exit 1
  fi
}
