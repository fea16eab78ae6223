#!/usr/bin/env bash
# What an exit code of `uring-ablate nightly` means to a GitHub job: an annotation, and whether the job fails. An inconclusive night is a warning:
# hosted runners are noisy, and one night is no reason to look. A failed control is a failure: then the measuring itself is wrong.
# Usage: scripts/schedule/verdict.sh CODE   (no code: nothing was measured)
set -euo pipefail
case ${1:-} in
  0) echo "no regression" ;;
  1) echo "::error title=Confirmed regression::The candidate is slower than the reference; the job's summary says where and by how much." && exit 1 ;;
  3) echo "::warning title=Inconclusive::No verdict: what would have been seen is wider than the margin; the job's summary says where." ;;
  4) echo "::error title=A control failed::What is known to be equal or slower was not found to be so: these figures cannot be trusted." && exit 4 ;;
  5) echo "::error title=Cannot measure here::This runner refuses what measuring needs; the log of the measuring step says what." && exit 5 ;;
  '') echo "::error title=Nothing was measured::A step before the measuring failed, or the measuring was cut off." && exit 1 ;;
  *) echo "::error title=Exit code $1::The tool did not finish; see the log of the measuring step." && exit "$1" ;;
esac
