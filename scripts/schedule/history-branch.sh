#!/usr/bin/env bash
# The history of hosted nights: the branch nightly-history, which shares no commit with the code. It holds reference-commit (the commit whose program
# every night is measured against) and history/ (what all nights say; the rows of a night are in its artefacts).
# Usage: scripts/schedule/history-branch.sh open DIR   a work tree of the branch in DIR, a new one before the first night; prints the pinned commit
#        scripts/schedule/history-branch.sh save DIR   commits what the night added and pushes it; fails if it added nothing
set -euo pipefail
branch=nightly-history

fail() {
  echo "history-branch: $*" >&2
  exit 1
}

# Whether there is such a branch; that the other side does not answer is no "no".
exists() {
  local code=0
  git ls-remote --exit-code --heads origin "refs/heads/$branch" >/dev/null || code=$?
  case $code in 0) ;; 2) return 1 ;; *) fail "cannot ask origin for its branches" ;; esac
}

open() {
  if exists; then
    git fetch --quiet --depth=1 origin "refs/heads/$branch"
    git worktree add --quiet --detach "$1" FETCH_HEAD
    [ -s "$1/reference-commit" ] || fail "branch $branch has no reference-commit: write the hash of a commit into it, or remove the branch to begin anew"
  else
    git worktree add --quiet --detach --no-checkout "$1" HEAD
    git -C "$1" checkout --quiet --orphan "$branch"
    git -C "$1" read-tree --empty
    git rev-parse HEAD >"$1/reference-commit"
  fi
  mkdir -p "$1/history"
  cat "$1/reference-commit"
}

save() {
  cd "$1"
  [ -s history/nights.csv ] || fail "$1/history/nights.csv is missing or empty: no night is there"
  # Charts as SVG alone, which git stores as differences.
  find reference-commit history -maxdepth 2 \( -path reference-commit -o -path history/nights.csv -o -path history/series.csv \
    -o -path 'history/plots/*.svg' -o -path 'history/*/summary.md' -o -path 'history/*/night.json' \) -print0 |
    git add --force --pathspec-from-file=- --pathspec-file-nul
  git diff --cached --quiet -- history/nights.csv && fail "this night added nothing to history/nights.csv"
  git commit --quiet --message "Night of $(date --utc +%Y-%m-%d)"
  git push --quiet origin "HEAD:refs/heads/$branch"
}

[ $# -eq 2 ] || fail "usage: $0 open|save DIR"
case $1 in
  open) open "$2" ;;
  save) save "$2" ;;
  *) fail "usage: $0 open|save DIR" ;;
esac
