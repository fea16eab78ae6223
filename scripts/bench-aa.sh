#!/usr/bin/env bash
# Runs experiments/aa.toml again and again, a minute each, and counts: how often identical code is called different, how often the stall of
# 1 % and the spin of 5 % are found and their truth is covered, and how wide the intervals are. Arguments: how many runs (40), then anything
# that `uring-ablate run` takes. Writes only to a temporary directory, or to $AA_DIR, where runs that are there already count.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential
runs=${1:-40}
shift || true
if [ -z "${AA_BINARY:-}" ]; then
  cargo build --release --locked --quiet
  AA_BINARY=./target/release/uring-ablate
fi
dir=${AA_DIR:-}
if [ -z "$dir" ]; then
  dir=$(mktemp -d)
  trap 'rm -rf "$dir"' EXIT
fi
for run in $(seq "$runs"); do
  [ -e "$dir/$run/effects.csv" ] || "$AA_BINARY" run experiments/aa.toml --quiet --out "$dir/$run" --set "design.seed=$run" "$@" >/dev/null
  # A line for each control and metric: found is p <= 0.05, covered is by the interval.
  awk -F, -v run="$run" 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    {
      kind = $at["kind"]; metric = $at["metric"]; lo = $at["lo"]; hi = $at["hi"]; truth = 0
      if (kind == "placebo") truth = 1
      if (kind == "stall" && metric == "iops") truth = 1 / 1.01
      if (kind == "spin" && metric == "cpu_total_ns_per_op") truth = 1.05
      if (truth == 0) next
      printf "%d %s %s %.4f %.4f %.4f %s %s %.3f\n", run, kind, metric, $at["ratio"], lo, hi,
        ($at["p"] <= 0.05 ? "found" : "-"), (lo <= truth && truth <= hi ? "covered" : "MISSED"), (hi - lo) / 2 / $at["ratio"] * 100
    }' "$dir/$run/effects.csv"
done | tee "$dir/lines"
echo
sort -k2,3 -k9,9n "$dir/lines" | awk '
  function flush() {
    if (n > 0) printf "%-8s %-20s %d runs, %d found, truth covered in %d, half-width median %.2f %%, widest %.2f %%\n", kind, metric, n, found, covered, width[int((n + 1) / 2)], width[n]
  }
  $2 != kind || $3 != metric { flush(); kind = $2; metric = $3; n = found = covered = 0 }
  { width[++n] = $9; found += ($7 == "found"); covered += ($8 == "covered") }
  END { flush() }'
