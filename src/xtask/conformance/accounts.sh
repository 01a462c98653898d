#!/usr/bin/env bash
# Gives service accounts of the suite's own namespaces a secret with a token, as Kubernetes did until 1.23: some tests of
# 1.20 wait for it, though they are about something else. Runs until it is ended. KUBECONFIG names the cluster.
#   accounts.sh KUBECTL
set -uo pipefail
kubectl=$1

# secret NAMESPACE ACCOUNT
secret() {
    "$kubectl" create --namespace "$1" --filename - >/dev/null <<END
apiVersion: v1
kind: Secret
type: kubernetes.io/service-account-token
metadata: { name: "$2-token-conf", annotations: { kubernetes.io/service-account.name: "$2" } }
END
    "$kubectl" patch serviceaccount "$2" --namespace "$1" --type merge \
        --patch "{\"secrets\":[{\"name\":\"$2-token-conf\"}]}" >/dev/null
}

columns=NAMESPACE:.metadata.namespace,NAME:.metadata.name,SECRETS:.secrets[*].name
while sleep 1; do
    # A watch ends by itself after a while.
    "$kubectl" get serviceaccounts --all-namespaces --watch --no-headers --output "custom-columns=$columns"
done | while read -r namespace name secrets; do
    [[ $namespace =~ ^(svcaccounts|nsdeletetest)- && $secrets == '<none>' ]] && secret "$namespace" "$name"
done
