#!/usr/bin/env bash
# Does a night find what is there, and nothing else? On this machine, with the tool as built here:
#  1. nights of a program beside itself: none may confirm anything;
#  2. behind those nights, a candidate that burns 2 % of its CPU time besides: confirmed the first night how often?
#  3. fio beside itself, then beside itself with a busy-wait of 100 ns in each of its readings of the clock: any command is gated the same way.
# Everything is left in OUT; about 50 minutes. Do nothing else on the machine meanwhile.
# Usage: scripts/bench-nightly.sh [OUT [NIGHTS [SLOWED]]]     (results/nightly-bench, 20, 10)
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-results/nightly-bench}") nights=${2:-20} slowed=${3:-10}
. scripts/packages.sh
need cc build-essential fio fio
tool=${URING_ABLATE:-}
if [ -z "$tool" ]; then
  cargo build --release --locked
  tool=$PWD/target/release/uring-ablate
fi
mkdir -p "$out"
[ ! -e "$out/same" ] || { echo "$out holds a benchmark already; choose another OUT" >&2 && exit 2; }

# A candidate that is this program but for a known share of CPU time: what the runner tells its worker is changed on the way.
cat >"$out/slower" <<EOF
#!/bin/sh
spec=\$(mktemp)
sed 's/"control":"none"/"control":{"spin":0.02}/' >"\$spec"
exec <"\$spec"
rm "\$spec"
exec $tool worker
EOF
chmod +x "$out/slower"

night() { # HISTORY CANDIDATE ROUND_TIME
  local code=0
  "$tool" --quiet nightly experiments/nightly.toml --history "$1" --reference "$tool" --candidate "$2" \
    --set workload.rw=read --set "peers.round_time=$3" --set gate.find=4% || code=$?
  echo "$code" >>"$1/codes"
  return 0
}

echo "== $nights nights of a program beside itself"
mkdir -p "$out/same"
for n in $(seq "$nights"); do
  night "$out/same" "$tool" 500ms
  echo "night $n: exit $(tail -n 1 "$out/same/codes")"
done

echo "== $slowed candidates that burn 2 % of their CPU time besides, each behind those nights"
for n in $(seq "$slowed"); do
  mkdir -p "$out/slowed-$n"
  cp "$out"/same/*.csv "$out/slowed-$n"
  night "$out/slowed-$n" "$out/slower" 1s
  echo "candidate $n: exit $(cat "$out/slowed-$n/codes"): $(head -n 1 "$out/slowed-$n"/*Z-*/summary.md)"
done

echo "== fio beside itself, and beside itself with a busy-wait"
cat >"$out/fio.toml" <<'EOF'
name = "fio"
question = "Is fio as fast as it was?"
[target]
kind = "loop"
size = "256MiB"
[workload]
rw = "randread"
bs = "4k"
iodepth = 64
[design]
kind = []
toggles = []
rounds = 24
[analysis]
delta = "1%"
[gate]
find = "4%"
[peers]
round_time = "1s"
[subject]
command = [
  "{program}", "--name=gate", "--ioengine=io_uring", "--filename={target}", "--size=256m", "--direct=1", "--rw=randread", "--bs=4k",
  "--iodepth=64", "--fixedbufs=1", "--registerfiles=1", "--thread", "--norandommap", "--time_based", "--runtime=86400", "--eta=never", "--clocksource=clock_gettime",
]
metric = "counters"
EOF
# fio reads the clock by a function of the C library, in whose place this one burns 100 ns more.
cat >"$out/slow.c" <<'EOF'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
int clock_gettime(clockid_t id, struct timespec *time) {
  static int (*next)(clockid_t, struct timespec *);
  if (!next) next = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
  struct timespec from, now;
  next(CLOCK_MONOTONIC, &from);
  do next(CLOCK_MONOTONIC, &now);
  while ((now.tv_sec - from.tv_sec) * 1000000000L + now.tv_nsec - from.tv_nsec < 100);
  return next(id, time);
}
EOF
cc -O2 -shared -fPIC -o "$out/slow.so" "$out/slow.c" -ldl
cat >"$out/slow-fio" <<EOF
#!/bin/sh
LD_PRELOAD=$out/slow.so exec fio "\$@"
EOF
chmod +x "$out/slow-fio"
for candidate in "$(command -v fio)" "$out/slow-fio"; do
  code=0
  "$tool" --quiet nightly "$out/fio.toml" --trust "$out/fio.toml" --history "$out/fio" --reference "$(command -v fio)" --candidate "$candidate" || code=$?
  echo "$(basename "$candidate"): exit $code: $(head -n 1 "$(find "$out/fio" -name summary.md | sort | tail -n 1)")"
done

echo "== what it came to"
echo "beside itself: exit codes $(sort "$out/same/codes" | uniq -c | tr '\n' ' ')(count, code)"
echo "slowed:        exit codes $(cat "$out"/slowed-*/codes | sort | uniq -c | tr '\n' ' ')"
"$tool" history verify "$out/same"
"$tool" history show "$out/same"
