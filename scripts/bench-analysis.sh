#!/usr/bin/env bash
# How long a report takes, and how much memory, for made runs of 10 000, 100 000 and 1 000 000 slices. Writes only to a temporary directory.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential /usr/bin/time time
cargo build --release --locked --quiet
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
for blocks in 42 417 4167; do
  mkdir "$dir/$blocks"
  # Twelve rounds of twenty slices a block: references three times, controls, six toggles left out and put in.
  awk -v blocks="$blocks" -v trials="$dir/$blocks/trials.csv" -v arms="$dir/$blocks/arms.csv" 'BEGIN {
    srand(1)
    n = split("baseline baseline baseline full full full placebo stall without:a without:b without:c without:d without:e without:f only:a only:b only:c only:d only:e only:f", names, " ")
    print "round,cell,treatment,block,position,duration_s,ops,cpu_total_ns" > trials
    print "round,kind,cell,treatment,outcome,thread_cpu_share" > arms
    for (round = 1; round <= 12; round++) {
      for (block = 0; block < blocks; block++)
        for (i = 1; i <= n; i++)
          printf "%d,c,%s,%d,%d,%.9f,2560,%d\n", round, names[i], block, i - 1, 0.005 * (1 + 0.1 * rand()), 2500000 * (1 + 0.1 * rand()) > trials
      for (i = 1; i <= n; i++) if (!(names[i] in seen) || seen[names[i]] != round) {
        printf "%d,slices,c,%s,completed,0.99\n", round, names[i] > arms
        seen[names[i]] = round
      }
    }
  }'
  rows=$(($(wc -l <"$dir/$blocks/trials.csv") - 1))
  /usr/bin/time -f "$rows slices: %e s, %M KiB" ./target/release/uring-ablate report "$dir/$blocks" --quiet
done
