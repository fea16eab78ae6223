#!/usr/bin/env bash
# Runs every check and every test: formatting, clippy, documentation, shell scripts, dependencies, unit and integration tests on real io_uring
# and fio. Installs what the tests need (by apt-get, pip and cargo, the latter two by version) and says so. As root more tests can run; those
# that could not are listed at the end. `--full` goes on with the long versions: every system call failing, 200 kills, a minute of fuzzing for
# each parser (FUZZ_SECONDS=3600 for an hour); about an hour and a half, and it lists what ran.
set -euo pipefail
full=false
case ${1:-} in
  --full) full=true ;;
  "") ;;
  *) echo "usage: $0 [--full]" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential fio fio shellcheck shellcheck strace strace mkfs.ext4 e2fsprogs mount mount losetup mount setpriv util-linux \
  valgrind valgrind chromium chromium java default-jre-headless systemd-analyze systemd git git
need_statistics
need_python
need_actionlint
need_nextest
need_deny

echo "== formatting"
cargo fmt --all --check
echo "== shell scripts"
shellcheck -x scripts/*.sh scripts/lab/* scripts/schedule/*.sh .ci/run
echo "== dependencies"
cargo deny --locked check licenses bans sources
echo "== clippy"
cargo clippy --release --all-targets --locked -- -D warnings
echo "== documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --release --no-deps --document-private-items --locked --quiet
echo "== lab"
cargo build --release --locked --quiet
for kernel in 6.1 6.12 newest; do
  started=$SECONDS
  if ./scripts/lab.sh --kernel "$kernel" -- uname -r; then
    echo "to the guest's end: $((SECONDS - started)) s"
  else
    echo "the guest with kernel $kernel did not run; its tests will fail"
  fi
done
echo "== tests"
URING_ABLATE_SKIPS=$(mktemp)
export URING_ABLATE_SKIPS
trap 'rm -f "$URING_ABLATE_SKIPS"' EXIT
cargo nextest run --release --locked --no-fail-fast
if [ -s "$URING_ABLATE_SKIPS" ]; then
  echo "could not run here:"
  sed 's/^/  /' "$URING_ABLATE_SKIPS"
  # There is QEMU by now, so the lab has no excuse.
  if grep -q '^lab' "$URING_ABLATE_SKIPS"; then exit 1; fi
else
  echo "every test ran"
fi
$full || exit 0

echo "== long versions: fault injection, kills, fuzzing"
: >"$URING_ABLATE_SKIPS"
URING_ABLATE_RAN=$(mktemp)
export URING_ABLATE_RAN
trap 'rm -f "$URING_ABLATE_SKIPS" "$URING_ABLATE_RAN"' EXIT
# Another seed every day; a failure names it.
export URING_ABLATE_FULL=1 URING_ABLATE_FUZZ_SECONDS=${FUZZ_SECONDS:-60} URING_ABLATE_FUZZ_SEED=${FUZZ_SEED:-$(date +%Y%m%d)}
echo "$URING_ABLATE_FUZZ_SECONDS s of fuzzing a parser, seed $URING_ABLATE_FUZZ_SEED"
status=0
cargo nextest run --release --locked --no-fail-fast --profile full -E 'test(/^(faults|kills|fuzz)::/)' || status=$?
echo "== what ran"
cat "$URING_ABLATE_RAN"
if [ -s "$URING_ABLATE_SKIPS" ]; then
  echo "could not run here:"
  sed 's/^/  /' "$URING_ABLATE_SKIPS"
fi
exit "$status"
