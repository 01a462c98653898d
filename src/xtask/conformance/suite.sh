#!/usr/bin/env bash
# Puts the conformance suite of Kubernetes 1.20 into target/conformance/bin: e2e.test, ginkgo that runs it on several
# processes, and the programs that its pods run. Built from Debian's source package of Kubernetes with Debian's Go 1.19:
# neither is installed, and the machine's own apt configuration and lists stay as they are.
set -euo pipefail
cd "$(dirname "$0")/../../.."

here=$PWD/target/conformance
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
tree=$here/gopath/src/k8s.io/kubernetes
programs=(e2e.test ginkgo agnhost nonewprivs sample-apiserver)

# The mirror that this machine uses for Debian's own packages.
mirror() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        awk '$3 == "main" && $2 ~ /^(bookworm|trixie|forky|sid|stable|oldstable|testing|unstable)$/ {print $1; exit}'
}

# apt with lists of its own, for Debian's bookworm.
apt() {
    apt-get -qq \
        -o Dir::Etc::SourceList="$here/apt/sources.list" -o Dir::Etc::SourceParts=- \
        -o Dir::State="$here/apt/state" -o Dir::State::Lists="$here/apt/lists" \
        -o Dir::State::status="$here/apt/status" -o Dir::Cache="$here/apt/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Retries=3 "$@"
}

fetch() {
    [[ -e $here/fetched ]] && return
    local site
    site=$(mirror)
    [[ -n $site ]] || { echo "conformance: no source of Debian's packages in apt's configuration" >&2; exit 1; }
    [[ -r $keyring ]] || { echo "conformance: $keyring is missing: apt-get install debian-archive-keyring" >&2; exit 1; }
    echo "conformance: fetching the sources of Kubernetes and Go 1.19 from Debian's bookworm"
    rm -rf "$here/apt" "$here/go" "$here/gopath"
    mkdir -p "$here"/apt/{state,lists/partial,cache/archives/partial} "$here/go" "$(dirname "$tree")"
    : >"$here/apt/status"
    printf '%s [signed-by=%s] %s bookworm main\n' deb "$keyring" "$site" deb-src "$keyring" "$site" \
        >"$here/apt/sources.list"
    (
        cd "$here/apt"
        apt update
        apt download golang-1.19-go golang-1.19-src
        apt source --download-only kubernetes
        for package in ./*.deb; do
            dpkg-deb -x "$package" "$here/go"
        done
        # Debian's changes leave parts out that the suite is made of: the sources as they came.
        dpkg-source --no-check --skip-patches -x ./*.dsc "$tree" >/dev/null
    )
    rm -rf "$here/apt"
    touch "$here/fetched"
}

go() {
    GOROOT=$here/go/usr/lib/go-1.19 GOPATH=$here/gopath GOCACHE=$here/cache GO111MODULE=off CGO_ENABLED=0 \
        "$here/go/usr/lib/go-1.19/bin/go" "$@"
}

# Files that the suite carries inside of itself are Go code that its own build makes first.
generate() {
    local manifests=test/e2e/generated/bindata.go texts=staging/src/k8s.io/kubectl/pkg/generated/bindata.go
    local ignored=(-ignore '\.jpg' -ignore '\.png' -ignore '\.md' -ignore 'BUILD(\.bazel)?')
    go build -o "$here/bin/go-bindata" k8s.io/kubernetes/vendor/github.com/go-bindata/go-bindata/go-bindata
    cd "$tree"
    "$here/bin/go-bindata" -nometadata -o "$manifests" -pkg generated "${ignored[@]}" \
        test/conformance/testdata/... test/e2e/testing-manifests/... test/e2e_node/testing-manifests/... \
        test/images/... test/fixtures/...
    "$here/bin/go-bindata" -nometadata -nocompress -o "$texts" -pkg generated "${ignored[@]}" translations/...
}

build() {
    local missing=0
    for program in "${programs[@]}"; do
        [[ -x $here/bin/$program ]] || missing=1
    done
    [[ $missing == 1 ]] || return 0
    fetch
    echo "conformance: building the suite"
    mkdir -p "$here/bin"
    (generate)
    go build -o "$here/bin/ginkgo" k8s.io/kubernetes/vendor/github.com/onsi/ginkgo/ginkgo
    go build -o "$here/bin/agnhost" k8s.io/kubernetes/test/images/agnhost
    go build -o "$here/bin/nonewprivs" k8s.io/kubernetes/test/images/nonewprivs
    go build -o "$here/bin/sample-apiserver" k8s.io/kubernetes/vendor/k8s.io/sample-apiserver
    go test -c -o "$here/bin/e2e.test" k8s.io/kubernetes/test/e2e
}

build
