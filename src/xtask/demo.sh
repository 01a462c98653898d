#!/usr/bin/env bash
# The demonstration cluster: three hosts on this machine and the cluster of inventories/lab.yaml on them.
#   demo.sh up RKCTL LAB     makes both, or brings them to what the inventory says, and shows them
#   demo.sh down RKCTL LAB   removes the lab
set -euo pipefail
cd "$(dirname "$0")/../.."
verb=$1 rkctl=$PWD/$2 lab=$3
kubeconfig=$PWD/.rkctl/$lab.kubeconfig

case $verb in
up)
    "$rkctl" lab up --name "$lab" --hosts cp1,w1,w2 --network 0 --export .rkctl/lab
    "$rkctl" up inventories/lab.yaml --kubeconfig "$kubeconfig"
    export KUBECONFIG=$kubeconfig
    echo
    target/tools/kubectl get nodes -o wide
    echo
    target/tools/kubectl get pods --namespace kube-system -o wide
    echo
    echo "export KUBECONFIG=$kubeconfig PATH=$PWD/target/tools:\$PATH"
    ;;
down)
    if [[ ! -x $rkctl ]]; then
        echo "demo: $rkctl is not built, and only it knows how to remove a lab: make build" >&2
        exit 1
    fi
    "$rkctl" lab down --name "$lab"
    rm -f "$kubeconfig"
    rmdir --ignore-fail-on-non-empty .rkctl 2>/dev/null || true
    ;;
*)
    echo "usage: demo.sh up|down RKCTL LAB" >&2
    exit 2
    ;;
esac
