#!/usr/bin/env bash
# Kubernetes' own conformance suite (1.20, the one in Debian's sources) against a cluster of three hosts on this machine:
# makes suite, images and lab, runs, prints what passed and what failed, removes the lab. The words of the command line
# are regular expressions of the suite's test names: all of its conformance tests where there are none.
#   RKCTL    the binary; the debug build of this tree where it is left out
#   KUBECTL  what the suite drives; target/tools/kubectl-1.20 where it is left out
#   NODES    how many tests run at once (4); those that must run alone do so afterwards
#   KEEP=1   leaves the lab, and a run that finds one takes it
set -euo pipefail
cd "$(dirname "$0")/../.."

here=$PWD/target/conformance
lab=${LAB:-conformance}
kubectl=${KUBECTL:-$PWD/target/tools/kubectl-1.20}
reports=$here/reports
accounts=
export KUBECONFIG=$here/$lab.kubeconfig KUBE_TEST_REPO_LIST=$here/registries.yaml

src/xtask/conformance/suite.sh
src/xtask/conformance/images.sh

if [[ -z ${RKCTL:-} ]]; then
    cargo build --workspace --bin rkctl --locked
    RKCTL=$here/rkctl
    strip -o "$RKCTL" "${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/debug/rkctl"
fi

down() {
    # The children are two loops and a watch, which end with the cluster at the latest.
    [[ -z $accounts ]] || kill "$accounts" 2>/dev/null || true
    [[ ${KEEP:-} == 1 ]] || "$RKCTL" lab down --name "$lab"
}

up() {
    local hosts=(cp1 w1 w2)
    "$RKCTL" lab up --name "$lab" --hosts "$(IFS=,; echo "${hosts[*]}")" --export "$here/lab"
    "$RKCTL" up "$here/lab/inventory.yaml" --kubeconfig "$KUBECONFIG"
    echo "conformance: importing the images"
    for host in "${hosts[@]}"; do
        "$RKCTL" lab --name "$lab" ssh "$host" 'ctr -n k8s.io images import -' <"$here/images.tar" >/dev/null
    done
    # Every registry that the suite knows, by its own list, is the place of the images just imported.
    sed -n 's/.*`yaml:"\([A-Za-z0-9]*\)"`.*/\1: rkctl.local\/e2e/p' \
        "$here/gopath/src/k8s.io/kubernetes/test/utils/image/manifest.go" >"$KUBE_TEST_REPO_LIST"
}

# run PROCESSES FOCUS SKIP NAME: tests by their names; a failed one is no failure of this.
run() {
    local processes=$1 focus=$2 skip=$3 folder=$reports/$4
    mkdir -p "$folder"
    # Since 1.24 no service account has a secret of its own, which every test would wait for; and the node that takes no
    # ordinary pods is marked by the newer name.
    "$here/bin/ginkgo" -nodes="$processes" -focus="$focus" -skip="$skip" -noColor -slowSpecThreshold=600 \
        "$here/bin/e2e.test" -- --provider=skeleton --kubeconfig="$KUBECONFIG" --kubectl-path="$kubectl" \
        --e2e-verify-service-account=false --non-blocking-taints=node-role.kubernetes.io/control-plane \
        --report-dir="$folder" >"$folder/log" 2>&1 || true
}

rm -rf "$reports"
mkdir -p "$here" "$reports"
trap down EXIT
up
src/xtask/conformance/accounts.sh target/tools/kubectl >"$reports/accounts.log" 2>&1 &
accounts=$!
names="($(IFS='|'; echo "${*:-.}"))"
echo "conformance: running; logs are in $reports"
run "${NODES:-4}" "$names.*\\[Conformance\\]" '\[Serial\]|\[Disruptive\]' together
run 1 "$names.*\\[(Serial|Disruptive)\\].*\\[Conformance\\]" '^$' alone
src/xtask/conformance/summary.py "$reports"
