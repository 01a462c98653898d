#!/usr/bin/env bash
# Everything there is, cheapest first: format, lints, unit and integration tests, the end-to-end drills. Each part says
# how long it took.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PWD/target/tools:$PATH

part() {
    local name=$1 began=$SECONDS
    shift
    echo "=== $name"
    "$@"
    echo "=== $name: ok after $((SECONDS - began)) s"
}

part "format" cargo fmt --all --check
part "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
part "unit and integration tests" cargo test --workspace --exclude e2e --locked
part "end to end" src/xtask/e2e.sh
