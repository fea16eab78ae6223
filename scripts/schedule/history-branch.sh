#!/usr/bin/env bash
# The history of hosted nights: the branch nightly-history, which shares no commit with the code. It holds reference-commit (the commit whose program
# every night is measured against) and history/ (what all nights say; the rows of a night are in its artefacts).
# Usage: scripts/schedule/history-branch.sh open DIR            a work tree of the branch in DIR, a new one before the first night; prints the pinned commit
#        scripts/schedule/history-branch.sh save DIR MEASURED   adds the one night that MEASURED (a history) has more than DIR, and pushes it
# MEASURED comes from a job that runs programs under test, so it is not believed: what earlier nights say must stand in it as it was, and only plain
# files of known names are taken.
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

# grown OLD NEW: NEW is OLD with something behind it.
grown() {
  [ -s "$2" ] || fail "$2 is missing or empty: no night is there"
  [ ! -e "$1" ] || cmp --quiet --bytes="$(stat --format=%s "$1")" "$1" "$2" || fail "$2 does not continue what earlier nights wrote into $1"
}

# take FILE...: copies from MEASURED to DIR what is there, at most 16 MiB each.
take() {
  local file
  for file; do
    [ -f "$measured/$file" ] || continue
    [ "$(stat --format=%s "$measured/$file")" -le $((16 << 20)) ] || fail "$measured/$file is larger than 16 MiB"
    install -D -m 644 "$measured/$file" "history/$file"
  done
}

save() {
  local measured odd table night nights=()
  measured=$(realpath -- "$2")
  cd "$1"
  odd=$(find "$measured" ! -type f ! -type d -print -quit)
  [ -z "$odd" ] || fail "$odd is neither a file nor a directory"
  for table in nights.csv series.csv; do grown "history/$table" "$measured/$table"; done
  cmp --quiet "$measured/nights.csv" history/nights.csv && fail "this night added nothing to history/nights.csv"
  while read -r night; do
    [ -e "history/$night" ] || nights+=("$night")
  done < <(find "$measured" -mindepth 1 -maxdepth 1 -type d -name '[0-9]*Z-*' -printf '%f\n')
  [ ${#nights[@]} -eq 1 ] || fail "$measured has ${#nights[@]} nights that history lacks, where one was measured"
  [[ ${nights[0]} =~ ^[0-9]{8}T[0-9]{6}Z-[A-Za-z0-9._-]+$ ]] || fail "${nights[0]} is no name of a night"
  take nights.csv series.csv "${nights[0]}"/{summary.md,night.json}
  # Charts as SVG alone, which git stores as differences.
  while read -r table; do take "plots/$table"; done < <(find "$measured/plots" -maxdepth 1 -type f -regex '.*/[A-Za-z0-9._-]+\.svg' -printf '%f\n')
  git add --force reference-commit history
  git commit --quiet --message "Night of $(date --utc +%Y-%m-%d)"
  git push --quiet origin "HEAD:refs/heads/$branch"
}

case $#:${1:-} in
  2:open) open "$2" ;;
  3:save) save "$2" "$3" ;;
  *) fail "usage: $0 open DIR | save DIR MEASURED" ;;
esac
