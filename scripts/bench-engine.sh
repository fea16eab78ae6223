#!/usr/bin/env bash
# The engine with everything on against fio, against t/io_uring where T_IO_URING names it, and on NOPs; then 128 KiB blocks on a loop device and
# on a file of the disk below DIR (default: the temporary directory); then sixteen jobs. Prints ratios (ours / theirs) with 95 % intervals.
# Installs fio if missing.
# Usage: [T_IO_URING=/path/to/t/io_uring] scripts/bench-engine.sh [DIR]
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential fio fio
cargo build --release --locked
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
peak=()
[ -z "${T_IO_URING:-}" ] || peak=(--set "peers.t_io_uring=$T_IO_URING")

# measure NAME EXPERIMENT OVERRIDES...
measure() {
  local name=$1 experiment=$2
  shift 2
  TMPDIR=${DIR:-${TMPDIR:-/tmp}} ./target/release/uring-ablate run "$experiment" --out "$out/$name" "$@" >"$out/$name.txt" 2>"$out/$name.log" || { cat "$out/$name.log" >&2; return 1; }
  echo "== $name"
  grep -E " on the CPU|full/fio|full/t_io_uring" "$out/$name.txt"
}

DIR=${1:-}
echo "machine: $(uname -sr), $(nproc) CPUs, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2-)"
measure small-blocks experiments/engine.toml "${peak[@]}"
measure two-targets experiments/engine.toml "${peak[@]}" --set 'target=[{kind="loop",size="1GiB"},{kind="loop",size="1GiB"}]' --set 'workload.rw=["read","randread"]'
measure large-blocks-loop experiments/large-blocks.toml
measure large-blocks-file experiments/large-blocks.toml --set target.kind=file --set target.allow_iowq=true

echo "== sixteen jobs: completions of the slowest job / of the fastest, three runs of 5 s"
for rw in read randread nop; do
  for _ in 1 2 3; do
    ./target/release/uring-ablate bench --rw "$rw" --bs 4k --iodepth 128 --numjobs 16 --batch-submit 32 --batch-complete 32 --runtime 5 --allow-iowq
  done | awk -v rw="$rw" '$1 == "job_fairness" { printf " %s", $2 } END { print " " rw }'
done
