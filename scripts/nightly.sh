#!/usr/bin/env bash
# One night: builds the tool as it is here, measures it against the history's pinned reference by experiments/nightly.toml, appends to the history,
# says where everything is, and exits with the tool's exit code (docs/nightly.md). The first night pins the reference: the program as built then.
# Installs a C linker if it is missing (by apt-get) and says so; fio is not needed.
# Usage: scripts/nightly.sh [--short | --smoke] [HISTORY_DIR [ARGUMENTS OF uring-ablate nightly...]]
#   --short   reads in order alone, and shorter rounds, which find no less than about 4 %; --smoke: what the experiment calls smoke, which only shows that everything works. Neither
#             belongs among whole nights: without HISTORY_DIR (history/nightly) they have their own, history/short and history/smoke.
set -euo pipefail

name=nightly history=''
case ${1:-} in
  --short | --smoke) name=${1#--} && shift ;;
  -*) echo "nightly: unknown argument $1; see the head of $0" >&2 && exit 2 ;;
esac
# Relative to where the caller is.
[ $# -eq 0 ] || history=$(realpath -m -- "$1")
shift || true
cd "$(dirname "$0")/.."
history=${history:-history/$name}
experiment=experiments/nightly.toml

changes=()
case $name in
  short) changes=(workload.rw=read peers.round_time=500ms gate.find=4%) ;;
  smoke)
    mapfile -t changes < <(sed -n 's/^smoke = \[\(.*\)\]$/\1/p' "$experiment" | grep -o '"[^"]*"' | tr -d '"')
    [ ${#changes[@]} -gt 0 ] || { echo "nightly: $experiment has no line smoke = [...]" >&2 && exit 2; }
    ;;
esac
settings=()
for change in "${changes[@]}"; do settings+=(--set "$change"); done

. scripts/packages.sh
need_rust
need cc build-essential
cargo build --release --locked
begun=$(mktemp)
trap 'rm -f "$begun"' EXIT
code=0
./target/release/uring-ablate nightly "$experiment" --history "$history" "${settings[@]}" "$@" || code=$?
echo
# Until a night is complete it has no night.json.
night=''
[ ! -d "$history" ] || night=$(find "$history" -mindepth 2 -maxdepth 2 -name night.json -newer "$begun" -printf '%h\n')
if [ -n "$night" ]; then
  echo "this night: $night/summary.md"
  echo "all nights: $history/nights.csv, charts in $history/plots"
else
  echo "no night was added to $history"
fi
# Saying 0 of a night that is not there would be the worst answer.
[ -n "$night" ] || [ "$code" -ne 0 ] || code=4
echo "exit code:  $code (0 ok, 1 confirmed regression, 2 usage, 3 inconclusive, 4 a control failed, 5 cannot measure here, 130 interrupted)"
exit "$code"
