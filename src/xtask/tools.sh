#!/usr/bin/env bash
# Puts kubectl into target/tools, in the oldest and the newest version that the tests drive: kubectl-1.20 from
# Debian 12's packages and kubectl-1.32 from Debian 13's; `kubectl` is the newer one. Neither is installed, and
# the machine's own apt configuration and lists stay as they are.
# With the word `javascript`, also the packages of tests/clients/javascript, where node is to find them; with `go`, also
# the tests of tests/clients/go as a program (go.sh).
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=$PWD/target/tools
source src/xtask/debian.sh

# fetch SUITE PACKAGE NAME: unpacks the package's kubectl as target/tools/NAME.
fetch() {
    local suite=$1 package=$2 name=$3
    [[ -x $tools/$name ]] && return
    echo "tools: fetching $name from Debian's $suite"
    suite "$suite"
    unpack "$package"
    # Moved into place whole: another run may be doing the same.
    install -m 0755 "$work/unpacked/usr/bin/kubectl" "$tools/.$name.$$"
    mv -f "$tools/.$name.$$" "$tools/$name"
    done_with_suite
}

mkdir -p "$tools"
fetch bookworm kubernetes-client kubectl-1.20
fetch trixie kubectl kubectl-1.32
ln -sfn kubectl-1.32 "$tools/kubectl"

# npm's own record of what it installed is as new as the list it was installed from.
packages() {
    cd tests/clients/javascript
    [[ node_modules/.package-lock.json -nt package-lock.json ]] && return
    echo "tools: fetching the JavaScript client"
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >/dev/null
}

for client in "$@"; do
    case $client in
    javascript) (packages) ;;
    go) src/xtask/go.sh ;;
    *) echo "usage: tools.sh [javascript] [go]" >&2; exit 2 ;;
    esac
done
