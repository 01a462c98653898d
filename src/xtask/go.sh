#!/usr/bin/env bash
# Makes target/tools/go/clients.test of tests/clients/go: Kubernetes' own Go client and what it is built from, and a Go
# compiler that is new enough, from Debian's packages (60 MB). Nothing is installed. Compiled packages are kept in
# target/tools/go/cache: the first time takes two minutes of two processors, the next ones seconds.
#   go.sh          makes the program, if its sources are newer
#   go.sh go ...   runs the compiler's own commands in tests/clients/go, as `go.sh go vet .`
set -euo pipefail
cd "$(dirname "$0")/../.."
source src/xtask/debian.sh

# Debian's newest, whose client-go is that of Kubernetes 1.36. Debian 12 has none, and a Go that is too old for any.
suite=sid
# What client-go is built from, without what its own tests want.
libraries=(
    k8s-{api,apimachinery,apiextensions-apiserver,client-go,klog,kube-openapi,streaming,utils}
    k8s-sigs-{json,randfill,structured-merge-diff-v6,yaml}
    golang-x-{net,oauth2,sys,term,text,time} google-protobuf gopkg-{inf.v0,yaml.v2,yaml.v3}
    github-davecgh-go-spew github-docker-spdystream github-emicklei-go-restful github-evanphx-json-patch
    github-fxamacker-cbor github-go-logr-logr github-go-openapi-{jsonpointer,jsonreference,swag}
    github-google-{gnostic-models,uuid} github-gorilla-websocket github-json-iterator-go
    github-modern-go-{concurrent,reflect2} github-munnerz-goautoneg github-pkg-errors github-pmezard-go-difflib
    github-spf13-pflag github-x448-float16
)
tools=$PWD/target/tools/go
sources=$PWD/tests/clients/go

# Changed where this script asks for other packages.
packages() {
    printf 'golang-%s-dev\n' "${libraries[@]}"
}
wanted=$( (echo "$suite"; packages) | sha256sum | cut -c1-16)

failed() {
    echo "tools: the Go client could not be fetched from Debian's $suite: see above" >&2
    exit 1
}

fetch() {
    echo "tools: fetching the Go client from Debian's $suite"
    suite "$suite" || failed
    local compiler
    compiler=$(apt-cache "${options[@]}" depends golang-go | awk '/Depends: golang-[0-9.]+-go/ {print $2; exit}')
    [[ -n $compiler ]] || { echo "tools: Debian's $suite has no Go" >&2; exit 1; }
    unpack "$compiler" "${compiler%-go}-src" $(packages) || failed
    # Moved into place whole: another run may be doing the same.
    rm -rf "$work"/unpacked/usr/share/{doc,lintian,go-*/test}
    mkdir -p "$tools"
    rm -rf "$tools/.root.$$" "$tools/root-$wanted"
    mv "$work/unpacked" "$tools/.root.$$"
    mv -T "$tools/.root.$$" "$tools/root-$wanted"
    done_with_suite
}

[[ -d $tools/root-$wanted ]] || fetch
GOROOT=$(echo "$tools/root-$wanted"/usr/lib/go-*)
export GOROOT GOPATH=$tools/root-$wanted/usr/share/gocode GOCACHE=$tools/cache
# Nothing but what was fetched, and no C compiler.
export GO111MODULE=off GOTOOLCHAIN=local GOPROXY=off GOFLAGS= CGO_ENABLED=0 PATH=$GOROOT/bin:$PATH

if (($#)); then
    cd "$sources"
    exec "$@"
fi
program=$tools/clients.test
[[ -x $program && -z $(find "$sources" "$tools/root-$wanted" -maxdepth 2 -newer "$program" -print -quit) ]] && exit
echo "tools: compiling the tests of the Go client"
cd "$sources"
unformatted=$(gofmt -l .)
[[ -z $unformatted ]] || { echo "tools: gofmt -w is wanted by tests/clients/go:" $unformatted >&2; exit 1; }
# Without what a debugger wants all is smaller, and compiled sooner.
go test -c -vet=all -gcflags=all=-dwarf=false -ldflags='-s -w' -o "$program.$$" .
mv -f "$program.$$" "$program"
