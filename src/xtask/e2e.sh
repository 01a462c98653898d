#!/usr/bin/env bash
# The end-to-end drills against the binary of this tree, or the one that RKCTL names. Arguments choose drills, as those
# of any test binary do.
set -euo pipefail
cd "$(dirname "$0")/../.."

# With the workspace's features, so that what the other tests compiled is not compiled again.
if [[ -z ${RKCTL:-} ]]; then
    cargo build --workspace --bin rkctl --locked
    # It is copied to every host: without its symbols it is a third of the size.
    RKCTL=$PWD/target/e2e/rkctl
    mkdir -p target/e2e
    strip -o "$RKCTL" "${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/debug/rkctl"
fi
export RKCTL
exec cargo test --workspace --test drills --locked -- "$@"
