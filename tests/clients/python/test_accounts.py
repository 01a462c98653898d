"""Service accounts, their tokens, and the reviews that say who somebody is and what they may do."""

import base64
import json
import pathlib
import subprocess
import tempfile
import unittest

import urllib3
from kubernetes import client

from support import API, CORE, HOST, MERGE, NAMESPACE, ask, create, events, get, gone, here, pod, until, word

ACCOUNTS = here("serviceaccounts")
AUTHENTICATION = "/apis/authentication.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
API_ACCESS = "kube-api-access-"


class Accounts(unittest.TestCase):
    def account(self, **fields):
        """An account that goes after the test."""
        made = create(ACCOUNTS, {"metadata": {"name": word(8)}, **fields})
        self.addCleanup(ask, "DELETE", f"{ACCOUNTS}/{made['metadata']['name']}")
        return made["metadata"]["name"]

    def in_pod(self, script, **spec):
        """What a script prints that runs in a pod to its end."""
        made = pod(word(8), restartPolicy="Never", **spec)
        made["spec"]["containers"][0]["command"] = ["sh", "-c", script]
        name = create(here("pods"), made)["metadata"]["name"]
        self.addCleanup(ask, "DELETE", here("pods", name=name))

        def ended():
            return get(here("pods", name=name))["status"].get("phase") in ("Succeeded", "Failed")

        until("the pod ends", ended)
        return ask("GET", here("pods", name=name) + "/log").bytes.decode()

    # conformance: token, authority and namespace are mounted in pods
    def test_token_authority_and_namespace_are_mounted_in_pods(self):
        name = self.account()
        folder = "/var/run/secrets/kubernetes.io/serviceaccount"
        said = self.in_pod(f"cd {folder}; cat namespace; echo; cat token; echo; cat ca.crt", serviceAccountName=name)
        namespace, token, authority = said.split("\n", 2)
        self.assertEqual(namespace, NAMESPACE)
        self.assertEqual(authority.strip(), get(here("configmaps", name="kube-root-ca.crt"))["data"]["ca.crt"].strip())
        status = create(f"{AUTHENTICATION}/tokenreviews", {"spec": {"token": token}})["status"]
        self.assertTrue(status["authenticated"], status)
        self.assertEqual(status["user"]["username"], f"system:serviceaccount:{NAMESPACE}:{name}")
        self.assertLessEqual(
            {"system:serviceaccounts", f"system:serviceaccounts:{NAMESPACE}", "system:authenticated"}, set(status["user"]["groups"])
        )

    # conformance: pods and accounts say whether a token is mounted
    def test_pods_and_accounts_say_whether_a_token_is_mounted(self):
        accounts = {None: self.account(), True: self.account(automountServiceAccountToken=True), False: self.account(automountServiceAccountToken=False)}
        for of_account, name in accounts.items():
            for of_pod in (None, True, False):
                spec = {"serviceAccountName": name, "nodeSelector": {"no": "node"}}
                if of_pod is not None:
                    spec["automountServiceAccountToken"] = of_pod
                made = create(here("pods") + "?dryRun=All", pod(word(8), **spec))
                mounts = made["spec"]["containers"][0].get("volumeMounts", [])
                mounted = any(mount["name"].startswith(API_ACCESS) for mount in mounts)
                wanted = of_pod if of_pod is not None else of_account is not False
                self.assertEqual(mounted, wanted, f"account {of_account}, pod {of_pod}")

    # conformance: a projected token of an account is mounted
    def test_a_projected_token_of_an_account_is_mounted(self):
        source = {"serviceAccountToken": {"path": "token", "audience": "vault", "expirationSeconds": 600}}
        said = self.in_pod(
            "cat /var/run/tokens/token",
            volumes=[{"name": "t", "projected": {"sources": [source]}}],
            containers=[{
                "name": "c", "image": "rkctl.local/busybox:1", "imagePullPolicy": "Never",
                "volumeMounts": [{"name": "t", "mountPath": "/var/run/tokens"}],
            }],
        )
        claims = json.loads(base64.urlsafe_b64decode(said.split(".")[1] + "=="))
        self.assertEqual((claims["sub"], claims["aud"]), (f"system:serviceaccount:{NAMESPACE}:default", ["vault"]))
        self.assertEqual(claims["exp"] - claims["iat"], 600)

    # conformance: an account lives and is watched
    def test_an_account_lives_and_is_watched(self):
        name, label = word(8), word(8)
        since = get(ACCOUNTS)["metadata"]["resourceVersion"]
        create(ACCOUNTS, {"metadata": {"name": name, "labels": {"test-serviceaccount-static": label}}})
        patched = ask("PATCH", f"{ACCOUNTS}/{name}", {"automountServiceAccountToken": False}, MERGE).ok()
        self.assertFalse(patched["automountServiceAccountToken"])
        listed = CORE.list_service_account_for_all_namespaces(label_selector=f"test-serviceaccount-static={label}").items
        self.assertEqual([found.metadata.name for found in listed], [name])
        query = f"?labelSelector=test-serviceaccount-static%3D{label}"
        ask("DELETE", ACCOUNTS + query).ok()
        gone(f"{ACCOUNTS}/{name}")
        seen = [kind for kind, _ in events(f"{ACCOUNTS}{query}&watch=true&resourceVersion={since}", 3)]
        self.assertEqual(seen, ["ADDED", "MODIFIED", "DELETED"])

    # conformance: an account is updated
    def test_an_account_is_updated(self):
        name = self.account(automountServiceAccountToken=False)
        current = CORE.read_namespaced_service_account(name, NAMESPACE)
        current.automount_service_account_token = True
        self.assertTrue(CORE.replace_namespaced_service_account(name, NAMESPACE, current).automount_service_account_token)

    # conformance: a token that was requested is reviewed
    def test_a_token_that_was_requested_is_reviewed(self):
        name = self.account()
        path = f"{ACCOUNTS}/{name}/token"
        made = create(path, {"spec": {"expirationSeconds": 1800, "audiences": ["tokenreview"]}})
        self.assertIn("expirationTimestamp", made["status"])
        review = {"spec": {"token": made["status"]["token"], "audiences": ["tokenreview"]}}
        status = create(f"{AUTHENTICATION}/tokenreviews", review)["status"]
        self.assertEqual((status["authenticated"], status["audiences"]), (True, ["tokenreview"]), status)
        review["spec"]["audiences"] = ["somebody-else"]
        status = create(f"{AUTHENTICATION}/tokenreviews", review)["status"]
        self.assertFalse(status.get("authenticated", False), status)

    # conformance: every namespace has the authority's certificate, put right when edited
    def test_every_namespace_has_the_authoritys_certificate_put_right_when_edited(self):
        path = here("configmaps", name="kube-root-ca.crt")
        before = get(path)
        ask("DELETE", path).ok()
        until("it is back", lambda: ask("GET", path).code == 200)
        ask("PATCH", path, {"data": {"ca.crt": ""}}, MERGE).ok()
        until("it is put right", lambda: get(path).get("data") == before["data"])

    # conformance: a token is verified by the issuer's documents
    def test_a_token_is_verified_by_the_issuers_documents(self):
        token = create(f"{ACCOUNTS}/{self.account()}/token", {"spec": {}})["status"]["token"]
        claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
        head = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
        pool = urllib3.PoolManager(ca_certs=API.configuration.ssl_ca_cert)

        def fetch(path):
            answer = pool.request("GET", HOST + path, headers={"authorization": f"Bearer {token}"})
            self.assertEqual(answer.status, 200, answer.data)
            return json.loads(answer.data)

        document = fetch("/.well-known/openid-configuration")
        self.assertEqual(document["issuer"], claims["iss"])
        self.assertTrue(document["jwks_uri"].endswith("/openid/v1/jwks"), document)
        self.assertIn(head["alg"], document["id_token_signing_alg_values_supported"])
        keys = fetch("/openid/v1/jwks")["keys"]
        self.assertIn((head["kid"], head["alg"]), [(key["kid"], key["alg"]) for key in keys])

    # conformance: reviews of access agree with what an impersonated client may do
    def test_reviews_of_access_agree_with_what_an_impersonated_client_may_do(self):
        user = f"system:serviceaccount:{NAMESPACE}:{self.account()}"
        wanted = {"verb": "list", "resource": "configmaps", "namespace": NAMESPACE, "version": "v1"}
        spec = {"resourceAttributes": wanted, "user": user}

        def allowed():
            whole = create(f"{AUTHORIZATION}/subjectaccessreviews", {"spec": spec})["status"]["allowed"]
            local = {"metadata": {"namespace": NAMESPACE}, "spec": spec}
            path = f"{AUTHORIZATION}/namespaces/{NAMESPACE}/localsubjectaccessreviews"
            self.assertEqual(create(path, local)["status"]["allowed"], whole)
            code = ask("GET", here("configmaps"), **{"impersonate_user": user}).code
            self.assertEqual(code, 200 if whole else 403)
            return whole

        self.assertFalse(allowed())
        rbac = client.RbacAuthorizationV1Api(API)
        role = {"metadata": {"name": "reader"}, "rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]}
        rbac.create_namespaced_role(NAMESPACE, role)
        subject = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}
        reference = {"kind": "Role", "apiGroup": "rbac.authorization.k8s.io", "name": "reader"}
        rbac.create_namespaced_role_binding(NAMESPACE, {"metadata": {"name": "reader"}, "subjects": [subject], "roleRef": reference})
        until("the binding counts", allowed)

    # conformance: certificate signing requests have all their verbs, approval and status
    def test_certificate_signing_requests_have_all_their_verbs_approval_and_status(self):
        with tempfile.TemporaryDirectory() as folder:
            line = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
            line += ["-subj", "/CN=e2e", "-keyout", f"{folder}/key", "-out", f"{folder}/csr"]
            subprocess.run(line, check=True, capture_output=True)
            with open(f"{folder}/csr", "rb") as file:
                request = base64.b64encode(file.read()).decode()
        self.assertIn("certificatesigningrequests/approval", [found["name"] for found in get("/apis/certificates.k8s.io/v1")["resources"]])
        name = f"e2e-{word(8)}"
        spec = {"request": request, "signerName": "example.com/e2e-signer", "expirationSeconds": 3600, "usages": ["digital signature", "key encipherment", "server auth"]}
        since = get(REQUESTS)["metadata"]["resourceVersion"]
        made = create(REQUESTS, {"metadata": {"name": name, "labels": {"e2e": name}}, "spec": spec})
        self.addCleanup(ask, "DELETE", f"{REQUESTS}/{name}")
        self.assertTrue(made["spec"]["username"])
        path = f"{REQUESTS}/{name}"
        patched = ask("PATCH", path, {"metadata": {"annotations": {"patched": "true"}}, "spec": {}}, MERGE).ok()
        self.assertEqual(patched["metadata"]["annotations"]["patched"], "true")
        patched["metadata"]["annotations"]["updated"] = "true"
        ask("PUT", path, patched).ok()
        approval = get(f"{path}/approval")
        approval.setdefault("status", {})["conditions"] = [{"type": "Approved", "status": "True", "reason": "E2E", "message": "Set from an e2e test"}]
        self.assertEqual(ask("PUT", f"{path}/approval", approval).ok()["status"]["conditions"][0]["reason"], "E2E")
        more = get(path)["status"]["conditions"] + [{"type": "ApprovalPatch", "status": "True", "reason": "E2E"}]
        ask("PATCH", f"{path}/approval", {"metadata": {"annotations": {"patchedapproval": "true"}}, "status": {"conditions": more}}, MERGE).ok()
        # Only the status endpoint takes a certificate; here is one that anybody may look at.
        certificate = base64.b64encode(pathlib.Path(API.configuration.ssl_ca_cert).read_bytes()).decode()
        status = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": {"certificate": certificate}}
        self.assertEqual(ask("PATCH", f"{path}/status", status, MERGE).ok()["status"]["certificate"], certificate)
        current = get(f"{path}/status")
        current["status"]["conditions"].append({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "Set from an e2e test"})
        ask("PUT", f"{path}/status", current).ok()
        self.assertIn("StatusUpdate", [found["type"] for found in get(path)["status"]["conditions"]])
        self.assertEqual([found["metadata"]["name"] for found in get(f"{REQUESTS}?labelSelector=e2e%3D{name}")["items"]], [name])
        ask("DELETE", path).ok()
        ask("GET", path).refused(404, "NotFound")
        seen = [kind for kind, _ in events(f"{REQUESTS}?watch=true&labelSelector=e2e%3D{name}&resourceVersion={since}", 8)]
        self.assertEqual((seen[0], set(seen[1:-1]), seen[-1]), ("ADDED", {"MODIFIED"}, "DELETED"))
        again = create(REQUESTS, {"metadata": {"generateName": "e2e-", "labels": {"e2e": name}}, "spec": spec})
        ask("DELETE", f"{REQUESTS}?labelSelector=e2e%3D{name}").ok()
        gone(f"{REQUESTS}/{again['metadata']['name']}")


if __name__ == "__main__":
    unittest.main()
