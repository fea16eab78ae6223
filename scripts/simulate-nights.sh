#!/usr/bin/env bash
# How often does a night find what is not there, and how soon what is? The whole command (rounds, gate, second run, history on disk) on series of
# known truth, 24 rounds a night. docs/nightly.md shows what it prints; about 10 minutes.
# Usage: scripts/simulate-nights.sh
set -euo pipefail
cd "$(dirname "$0")/.."
cargo build --release --locked --quiet
# Each night is flushed to disk; in memory that costs nothing.
[ ! -d /dev/shm ] || export TMPDIR=/dev/shm

simulate() { # TITLE ARGUMENTS...
  echo "$1"
  shift
  echo "  uring-ablate simulate-nights $*"
  ./target/release/uring-ablate simulate-nights "$@" | sed 's/^/  /'
}

simulate "100 nights without any change" --histories 100 --cells 10 --nights 100 --spread 1% --delta 1%
simulate "5 % slower from night 40 on; rounds spread by 1 %" --histories 40 --cells 10 --nights 51 --at 40 --step 5% --spread 1% --delta 1%
simulate "slower by 2 standard deviations of a night (24 rounds of 5 %: 1.04 %) from night 60 on" \
  --histories 40 --cells 10 --nights 71 --at 60 --step 2.1% --spread 5% --delta 1%
simulate "the same with rounds that spread by 1 % and a margin as much smaller" \
  --histories 40 --cells 10 --nights 71 --at 60 --step 0.42% --spread 1% --delta 0.2%
simulate "100 nights without any change that share 0.25 % among all their rounds" \
  --histories 40 --cells 10 --nights 100 --spread 1% --between 0.25% --delta 1%
simulate "the same with 0.5 %: half the margin" --histories 40 --cells 10 --nights 100 --spread 1% --between 0.5% --delta 1%
