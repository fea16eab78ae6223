#!/usr/bin/env bash
# What slices are charged for the kernel thread of SQPOLL, beside what the thread really used. For NOPs and for reads of the automatic target it
# runs one arm once without a break and in slices of 2, 5, 20 and 80 ms, while this shell reads from outside what the kernel says of the same
# threads. Without a break: schedstat, and the CPU-accounting control group where version 1 is mounted and we are root, over time. In slices:
# schedstat, time on a CPU over time in which one was wanted, which for a thread that spins is all the time that it is awake. Prints shares of a
# CPU, and ends with exit code 1 where a charge is more than 2 % away from what was seen of the same run. Four minutes; the figures mean
# something only where two CPUs have nothing else to do. Writes to a temporary directory alone.
# Usage: [CHARGE_BINARY=/path/to/uring-ablate] scripts/bench-cpu-charge.sh
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential pgrep procps
if [ -z "${CHARGE_BINARY:-}" ]; then
  cargo build --release --locked --quiet
  CHARGE_BINARY=./target/release/uring-ablate
fi
out=$(mktemp -d)
group=
bench=
finish() {
  [ -z "$bench" ] || kill "$bench" 2>/dev/null || true
  [ -z "$bench" ] || wait "$bench" 2>/dev/null || true
  rm -rf "$out"
  [ -n "$group" ] || return 0
  # The group is empty when the last process in it is gone.
  for _ in {1..50}; do
    ! rmdir "$group" 2>/dev/null || return 0
    sleep 0.1
  done
  echo "$group is left behind: remove it with rmdir" >&2
}
trap finish EXIT

# experiment RW SLICE_TIME: one arm with SQPOLL among its controls; its levels are those that bench uses.
experiment() {
  cat <<END
name = "cpu-charge"
question = "What are slices charged for the thread of SQPOLL?"
[target]
kind = "auto"
size = "256MiB"
[workload]
rw = "$1"
bs = "4k"
iodepth = 128
[design]
kind = []
toggles = []
rounds = 6
round_time = "2s"
slice_time = "$2"
[fixed]
fixed_buffers = "on"
fixed_files = "on"
batch_submit = 4
time_check_interval = 1000
fast_path = "on"
stats_batching = "on"
latency_sampling = 100
pow2_mask = "on"
queue_refill = "eager"
sqpoll = "on"
END
}

# watch PID: of the submitting threads of all processes that PID starts, time on a CPU over time in which one was wanted.
watch() {
  local pid task name ran waited
  declare -A seen=()
  while jobs -rp | grep -qx "$1"; do
    for pid in $(pgrep -P "$1"); do
      for task in "/proc/$pid/task"/*; do
        name=
        read -r name 2>/dev/null <"$task/comm" || continue
        [[ $name == iou-sqp-* ]] || continue
        read -r ran waited _ 2>/dev/null <"$task/schedstat" || continue
        seen[$task]="$ran $waited"
      done
    done
    sleep 0.2
  done
  printf '%s\n' "${seen[@]}" | awk '{ ran += $1; waited += $2 } END { printf "%.4f\n", ran / (ran + waited) }'
}

# charged RW SLICE_TIME: CPU time over time of the kernel's threads, of the loop's, of both; then what was seen of the former.
charged() {
  local dir=$out/$1-$2
  experiment "$1" "$2" >"$dir.toml"
  "$CHARGE_BINARY" run "$dir.toml" --quiet --out "$dir" >"$dir.txt" 2>"$dir.log" &
  bench=$!
  watch "$bench" >"$dir.seen"
  wait "$bench" || { cat "$dir.log" >&2; return 1; }
  bench=
  awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["treatment"] == "full" && $at["outcome"] == "completed" {
      time += $at["duration_s"]; cpu += $at["cpu_total_ns_per_op"] * $at["ops"] / 1e9; own += $at["thread_cpu_share"] * $at["duration_s"]
    }
    END { if (time == 0) exit 1; printf "%.4f %.4f %.4f ", (cpu - own) / time, own / time, cpu / time }' "$dir/arms.csv" ||
    { echo "no round of $1 in slices of $2 was valid:" >&2; cut -d, -f 7-10 "$dir/arms.csv" >&2; return 1; }
  cat "$dir.seen"
}

# used PID: microseconds since 1970, nanoseconds of the kernel's threads, of the loop's, of the group.
used() {
  local pid=$1 task name ran kernel=0 loop=0 all=-
  [ -d "/proc/$pid/task" ] || return 1
  for task in "/proc/$pid/task"/*; do
    read -r name <"$task/comm"
    read -r ran _ <"$task/schedstat"
    case $name in iou-*) kernel=$((kernel + ran)) ;; *) loop=$((loop + ran)) ;; esac
  done
  [ -z "$group" ] || read -r all <"$group/cpuacct.usage"
  echo "${EPOCHREALTIME//[!0-9]/} $kernel $loop $all"
}

# continuous RW: the same of one stretch of ten seconds, seen from outside.
continuous() {
  local round='' pid before after
  "$CHARGE_BINARY" bench --rw "$1" --bs 4k --iodepth 128 --size 256m --sqpoll on --runtime 600s >"$out/bench.txt" 2>&1 &
  bench=$!
  [ -z "$group" ] || echo "$bench" >"$group/cgroup.procs"
  # It is ended here: how long it thinks that it will take rests on a pilot of milliseconds, whose processes are short. The first that has used a
  # second of CPU time measures.
  for _ in {1..100}; do
    sleep 0.1
    for pid in $(pgrep -P "$bench"); do
      before=$(used "$pid" 2>/dev/null) || continue
      read -r _ kernel loop _ <<<"$before"
      [ $((kernel + loop)) -lt 1000000000 ] || round=$pid
    done
    [ -z "$round" ] || break
  done
  [ -n "$round" ] || { echo "bench did not begin:" >&2; cat "$out/bench.txt" >&2; return 1; }
  before=$(used "$round")
  sleep 10
  after=$(used "$round") || { echo "bench ended too soon" >&2; return 1; }
  kill "$bench" 2>/dev/null || true
  wait "$bench" 2>/dev/null || true
  bench=
  echo "$before $after" | awk '{ time = ($5 - $1) * 1000
    printf "%.4f %.4f %s\n", ($6 - $2) / time, ($7 - $3) / time, $4 == "-" ? "-" : sprintf("%.4f", ($8 - $4) / time) }'
}

if [ "$(id -u)" = 0 ] && [ -e /sys/fs/cgroup/cpuacct/cgroup.procs ]; then
  group=/sys/fs/cgroup/cpuacct/uring-ablate-charge-$$
  mkdir "$group" 2>/dev/null || group=
fi
echo "machine: $(uname -sr), $(nproc) CPUs, $(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2-)"
echo "shares of a CPU"
printf '%-6s %-34s %14s %14s %8s %20s\n' work where "SQPOLL thread" "loop's thread" both "SQPOLL, schedstat"
far=0
for rw in nop read; do
  continuous "$rw" >"$out/seen"
  read -r kernel loop all <"$out/seen"
  printf '%-6s %-34s %14s %14s %8s\n' "$rw" "10 s, schedstat (both: cpuacct)" "$kernel" "$loop" "$all"
  for slice in 2ms 5ms 20ms 80ms; do
    charged "$rw" "$slice" >"$out/charged"
    read -r helpers own both seen <"$out/charged"
    away=$(awk -v a="$helpers" -v b="$seen" 'BEGIN { printf "%+.1f %%", (a / b - 1) * 100 }')
    printf '%-6s %-34s %14s %14s %8s %12s %7s\n' "$rw" "slices of $slice, charged" "$helpers" "$own" "$both" "$seen" "$away"
    awk -v a="$helpers" -v b="$seen" 'BEGIN { exit !(a / b > 0.98 && a / b < 1.02) }' || far=1
  done
done
[ "$far" = 0 ] || { echo "a charge is more than 2 % away from what schedstat says (is the machine idle?)" >&2; exit 1; }
