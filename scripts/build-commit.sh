#!/usr/bin/env bash
# Builds the program as it is at a commit, with that commit's lock file and compiler, so that it can be measured against another. The work tree is
# not touched: a git worktree is made for it and removed. All commits are built at the same path, since paths get into programs: the same source
# gives the same code. They share a target directory, target/commits/build, where dependencies that did not change are not built again.
# Usage: scripts/build-commit.sh COMMIT FILE   for example: scripts/build-commit.sh v0.1.0 history/nightly/reference/uring-ablate
set -euo pipefail
[ $# -eq 2 ] || { echo "usage: $0 COMMIT FILE" >&2 && exit 2; }
file=$(realpath -m -- "$2")
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential git git
# A shallow clone may lack it; hosts give out commits by their full hash.
git rev-parse --quiet --verify "$1^{commit}" >/dev/null || git fetch --quiet --depth=1 origin "$1"
commit=$(git rev-parse --verify "$1^{commit}")
commits=$PWD/target/commits
mkdir -p "$commits" "$(dirname "$file")"
exec 9>"$commits/lock"
flock 9
clear_source() {
  rm -rf "$commits/source"
  git worktree prune
}
clear_source
trap clear_source EXIT
git worktree add --quiet --detach "$commits/source" "$commit"
echo "building $commit" >&2
(cd "$commits/source" && CARGO_TARGET_DIR=$commits/build cargo build --release --locked --bin uring-ablate)
# A new file in the place of an old one, which may be running.
install -m 755 "$commits/build/release/uring-ablate" "$file.new"
mv "$file.new" "$file"
