# Sourced by the training scripts: a level that fails is reported at the end; the others go on.

# Names of the benchmark's levels, one per line.
benchmark_levels() {
  python -c 'from rtc.worlds.kinetix.levels import LEVEL_NAMES; print(*LEVEL_NAMES, sep="\n")'
}

# Levels of a study's file, one per line.
study_levels() {
  python -c 'import sys, tomllib; print(*tomllib.load(open(sys.argv[1], "rb"))["levels"], sep="\n")' "$1"
}

# choose_levels COMMAND [LEVEL …]: puts the levels that are given into the array levels, or what the command prints.
choose_levels() {
  local command=$1
  shift
  levels=("$@")
  if [ $# -eq 0 ]; then
    mapfile -t levels < <($command)
  fi
}

# demonstrations LEVEL RUN: experts of one level, NUM_EXPERTS of them, in the folder RUN, and what they record. Flags of the two
# programs are in the arrays of_experts and of_data, if the script has them.
demonstrations() {
  local level=worlds/l/$1.json experts=$2
  python src/train_expert.py --level-paths "$level" --run-path "$experts" --config.num-seeds "${NUM_EXPERTS:-3}" \
    "${of_experts[@]}" &&
    python src/generate_data.py --level-paths "$level" --config.run-path "$experts" "${of_data[@]}"
}

# Calls `train LEVEL` for every level; `failed` holds those that failed. Without a level, the list could not be read.
train_each() {
  local i=0 level
  if [ $# -eq 0 ]; then
    echo "error: there are no levels to train; see above" >&2
    exit 1
  fi
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
