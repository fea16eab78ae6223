#!/usr/bin/env bash
# Builds the tool, runs the quick experiment against fio, prints the table and where the charts are.
# Installs what is missing (a C linker and fio, by apt-get) and says so. Extra arguments go to `uring-ablate run`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential fio fio
cargo build --release --locked
./target/release/uring-ablate run experiments/quick.toml "$@"
