#!/usr/bin/env bash
# Runs fuzz targets: `fuzz.sh TARGET SECONDS`, or `all` for one after the other. The seconds are of the processor's time,
# so that a busy machine makes a run longer and not poorer. What a target finds is left in tests/fuzz/artifacts/TARGET,
# and what it has learned in CORPUS/TARGET (FUZZ_CORPUS, or tests/fuzz/corpus). The first finding ends it.
# FUZZ_BINARIES names a folder with targets that were built before: then nothing is built.
set -euo pipefail
cd "$(dirname "$0")/../../tests/fuzz"
target=${1:-all} seconds=${2:-60}
corpus=${FUZZ_CORPUS:-corpus}
# The most that one input may take. The time is the clock's, and targets run when nobody else wants to: the bound is
# far above what any input needs on a machine of its own.
memory_mib=1024 time_s=25 input_bytes=4096

# Coverage and compares as libFuzzer reads them; what cargo-fuzz passes. The compiler that builds the program takes it:
# nothing of it is unstable.
RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cforce-frame-pointers"
for option in level=4 inline-8bit-counters pc-table trace-compares stack-depth; do
    RUSTFLAGS+=" -Cllvm-args=-sanitizer-coverage-$option"
done
export RUSTFLAGS="$RUSTFLAGS -Cllvm-args=-simplifycfg-branch-fold-threshold=0"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
binaries=${FUZZ_BINARIES:-$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu/release}

# The folder of a target is the feature that it needs; `base` needs none.
build() {
    local file=(fuzz_targets/*/"$1".rs) folder
    [ -f "${file[0]}" ] || { echo "there is no fuzz target $1; see docs/fuzzing.md" >&2; exit 2; }
    [ -z "${FUZZ_BINARIES:-}" ] || return 0
    folder=$(basename "$(dirname "${file[0]}")")
    cargo build --release --quiet --bin "$1" --features "${folder/#base/default}"
}

# The time that a process had of processors, in their ticks. Its name, which may have blanks in it, ends with `)`.
ticks() {
    local stat
    { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 1
    read -ra stat <<<"${stat##*) }"
    echo $((stat[11] + stat[12]))
}

# Lets a process have its seconds; then it is asked to finish, which libFuzzer does before the next input.
limit() {
    local pid=$1 most=$((seconds * $(getconf CLK_TCK))) used
    while used=$(ticks "$pid"); do
        if [ "$used" -ge "$most" ]; then
            kill -USR1 "$pid" 2>/dev/null || true
            return
        fi
        sleep 1
    done
}

run() {
    local name=$1 more=() log pid code=0 inputs
    [ ! -f "dictionaries/$name.dict" ] || more+=("-dict=dictionaries/$name.dict")
    mkdir -p "$corpus/$name" "artifacts/$name"
    more+=("$corpus/$name")
    [ ! -d "seeds/$name" ] || more+=("seeds/$name")
    log=artifacts/$name/log
    echo "=== $name, $seconds s of the processor"
    nice -n 19 "$binaries/$name" -rss_limit_mb="$memory_mib" -timeout="$time_s" -max_len="$input_bytes" \
        -print_final_stats=1 -artifact_prefix="artifacts/$name/" "${more[@]}" >"$log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null || true' EXIT
    limit "$pid"
    wait "$pid" || code=$?
    trap - EXIT
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if [ "$code" != 0 ] || [ -z "$inputs" ]; then
        tail -n 40 "$log" >&2
        echo "=== $name: ended with $code; what it found is in tests/fuzz/artifacts/$name" >&2
        exit 1
    fi
    echo "=== $name: $inputs inputs in $seconds s, nothing found"
}

if [ "$target" = all ]; then
    # Everything at once: libraries that are built for one target and for others are built once.
    [ -n "${FUZZ_BINARIES:-}" ] || cargo build --release --quiet --bins --all-features
    for file in fuzz_targets/*/*.rs; do
        run "$(basename "$file" .rs)"
    done
else
    build "$target"
    run "$target"
fi
