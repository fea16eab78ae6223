#!/usr/bin/env bash
# Compares our statistics with R's and scipy's on 200 random data sets with ties and zeros: p, Hodges-Lehmann estimate and exact interval of
# one sample (signed rank) and of two (rank sum), Student's interval, Holm, Benjamini and Hochberg. Simulates coverage, false alarms, power and the error of a family. Under a
# minute after the build. Installs what is missing (by apt-get) and says so; the same tests are part of test.sh, where they can run.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential
need_statistics
need_nextest
URING_ABLATE_SKIPS=$(mktemp)
export URING_ABLATE_SKIPS
trap 'rm -f "$URING_ABLATE_SKIPS"' EXIT
cargo nextest run --release --locked -E 'test(statistics::) + test(signed_rank::) + test(rank_sum::) + test(family::) + test(factorial::) + test(selftest::)'
if [ -s "$URING_ABLATE_SKIPS" ]; then
  sed 's/^/could not run: /' "$URING_ABLATE_SKIPS"
  exit 1
fi
