#!/usr/bin/env bash
# Puts kubectl into target/tools, in the oldest and the newest version that the tests drive: kubectl-1.20 from
# Debian 12's packages and kubectl-1.32 from Debian 13's; `kubectl` is the newer one. Neither is installed, and
# the machine's own apt configuration and lists stay as they are.
# With the word `javascript`, also the packages of tests/clients/javascript, where node is to find them.
set -euo pipefail
cd "$(dirname "$0")/../.."

tools=$PWD/target/tools
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
work=
trap '[[ -z $work ]] || rm -rf "$work"' EXIT

# The mirror that this machine uses for Debian's own packages.
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk '$3 == "main" && $2 ~ /^(bookworm|trixie|forky|sid|stable|oldstable|testing|unstable)$/ {print $1; exit}'
}

# fetch SUITE PACKAGE NAME: unpacks the package's kubectl as target/tools/NAME.
fetch() {
    local suite=$1 package=$2 name=$3
    [[ -x $tools/$name ]] && return
    local site
    site=$(mirror)
    [[ -n $site ]] || { echo "tools: no source of Debian's packages in apt's configuration" >&2; exit 1; }
    [[ -r $keyring ]] || { echo "tools: $keyring is missing: apt-get install debian-archive-keyring" >&2; exit 1; }
    echo "tools: fetching $name from Debian's $suite"
    work=$(mktemp -d)
    mkdir -p "$work"/{state,lists/partial,cache/archives/partial,unpacked}
    : >"$work/status"
    echo "deb [signed-by=$keyring] $site $suite main" >"$work/sources.list"
    local apt=(
        apt-get -qq
        -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=-
        -o Dir::State="$work/state" -o Dir::State::Lists="$work/lists" -o Dir::State::status="$work/status"
        -o Dir::Cache="$work/cache" -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Retries=3
    )
    "${apt[@]}" update
    (cd "$work" && "${apt[@]}" download "$package")
    dpkg-deb -x "$work"/*.deb "$work/unpacked"
    # Moved into place whole: another run may be doing the same.
    install -m 0755 "$work/unpacked/usr/bin/kubectl" "$tools/.$name.$$"
    mv -f "$tools/.$name.$$" "$tools/$name"
    rm -rf "$work"
    work=
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

if [[ ${1:-} == javascript ]]; then
    (packages)
fi
