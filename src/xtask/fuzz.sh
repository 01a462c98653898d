#!/usr/bin/env bash
# Runs fuzz targets: `fuzz.sh TARGET SECONDS`, or `all` for one after the other. What a target finds is left in
# tests/fuzz/artifacts/TARGET, and what it has learned in tests/fuzz/corpus/TARGET. The first finding ends it.
set -euo pipefail
cd "$(dirname "$0")/../../tests/fuzz"
target=${1:-all} seconds=${2:-60}
# The most that one input may take.
memory_mib=1024 time_s=5 input_bytes=4096

# Coverage and compares as libFuzzer reads them; what cargo-fuzz passes. The compiler that builds the program takes it:
# nothing of it is unstable.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cforce-frame-pointers"
for option in level=4 inline-8bit-counters pc-table trace-compares stack-depth; do
    RUSTFLAGS+=" -Cllvm-args=-sanitizer-coverage-$option"
done
export RUSTFLAGS="$RUSTFLAGS -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}

# The folder of a target is the feature that it needs; `base` needs none.
build() {
    local file=(fuzz_targets/*/"$1".rs) folder
    [ -f "${file[0]}" ] || { echo "there is no fuzz target $1; see docs/fuzzing.md" >&2; exit 2; }
    folder=$(basename "$(dirname "${file[0]}")")
    cargo build --release --quiet --bin "$1" --features "${folder/#base/default}"
}

run() {
    local name=$1 more=()
    [ ! -f "dictionaries/$name.dict" ] || more+=("-dict=dictionaries/$name.dict")
    mkdir -p "corpus/$name" "artifacts/$name"
    more+=("corpus/$name")
    [ ! -d "seeds/$name" ] || more+=("seeds/$name")
    echo "=== $name, $seconds s"
    nice -n 19 "$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release/$name" \
        -max_total_time="$seconds" -rss_limit_mb="$memory_mib" -timeout="$time_s" -max_len="$input_bytes" \
        -artifact_prefix="artifacts/$name/" "${more[@]}"
}

if [ "$target" = all ]; then
    # Everything at once: libraries that are built for one target and for others are built once.
    cargo build --release --quiet --bins --all-features
    for file in fuzz_targets/*/*.rs; do
        run "$(basename "$file" .rs)"
    done
else
    build "$target"
    run "$target"
fi
