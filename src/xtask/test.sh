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

# Fuzz targets are a workspace of their own, which nothing else builds; whatever was checked for the program's is found.
fuzz_targets() {
    cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
    CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target} \
        cargo check --manifest-path tests/fuzz/Cargo.toml --bins --all-features --locked
}

part "format" cargo fmt --all --check
part "lints" cargo clippy --workspace --all-targets --locked -- -D warnings
part "fuzz targets" fuzz_targets
part "unit and integration tests" cargo test --workspace --exclude e2e --locked
part "end to end" src/xtask/e2e.sh
