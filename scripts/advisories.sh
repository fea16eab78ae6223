#!/usr/bin/env bash
# Is anything known against a crate that the program is built from? Asks the advisory database of RustSec; fails if so, and says what (deny.toml).
# Apart from test.sh, since the answer changes without a change of ours.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/packages.sh
need_rust
need cc build-essential git git
need_deny
cargo deny --locked check advisories
