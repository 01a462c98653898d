#!/usr/bin/env bash
# Installs the Debian packages named as arguments where they are missing, and kubectl into target/tools; with npm among
# them, what the tests in JavaScript need, too.
set -euo pipefail
cd "$(dirname "$0")/../.."

installed() {
    # Debian has node's package manager apart; other packages of node bring it.
    [[ $1 == npm ]] && command -v npm >/dev/null && return
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q '^install ok installed'
}

missing=()
javascript=
for package in "$@"; do
    installed "$package" || missing+=("$package")
    [[ $package != npm ]] || javascript=javascript
done
if ((${#missing[@]})); then
    if ((EUID != 0)); then
        echo "setup: these Debian packages are missing, install them as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    echo "setup: installing ${missing[*]}"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi
command -v cargo >/dev/null || { echo "setup: cargo is missing; install Rust 1.95 or later" >&2; exit 1; }
src/xtask/tools.sh $javascript
