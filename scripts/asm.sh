#!/usr/bin/env bash
# A microscope for the hot loop: its machine code with every toggle off and with every toggle on, and what each costs a request on a simulated
# ring, in nanoseconds and (by callgrind) in instructions. Installs binutils and valgrind if missing.
# Usage: scripts/asm.sh [DIR]   writes all_off.s and all_on.s to DIR (default: a temporary directory)
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential objdump binutils valgrind valgrind
cargo build --release --locked --quiet
program=target/release/uring-ablate
dir=${1:-$(mktemp -d)}
mkdir -p "$dir"

# instructions REQUESTS FLAGS...: those executed by a whole process that simulates so many requests.
instructions() {
  local requests=$1
  shift
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" simulate --requests "$requests" "$@" 2>&1 >/dev/null |
    sed -n 's/.*Collected : //p'
}

# look NAME FLAGS...: the loop that `simulate FLAGS` runs: engine::simulated::NAME.
look() {
  local name=$1 symbol few many
  shift
  symbol=$(nm "$program" | awk -v name="simulated${#name}$name" 'index($3, name) && !seen++ { print $3 }')
  objdump --disassemble="$symbol" --no-show-raw-insn "$program" | c++filt >"$dir/$name.s"
  few=$(instructions 100000 "$@")
  many=$(instructions 200000 "$@")
  echo "$name: $(grep -c '^ .*:' "$dir/$name.s") instructions long; $(awk "BEGIN { print ($many - $few) / 1e5 }") executed per request"
  "$program" simulate "$@"
}

look all_off
look all_on --all-on
echo "machine code: $dir/all_off.s $dir/all_on.s"
