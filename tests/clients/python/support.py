"""What the tests share: the cluster and namespace they were given, raw requests, kubectl, and waiting.

Nothing here knows what is tested. `KUBECONFIG`, `NAMESPACE` and `KUBECTL` name the cluster, the namespace of this run
and the kubectl to use.
"""

import json
import os
import random
import string
import subprocess
import tempfile
import time

from kubernetes import client, config

NAMESPACE = os.environ["NAMESPACE"]
PATIENCE_S = 60
"""A condition that does not come about in this time never will."""

config.load_kube_config(os.environ["KUBECONFIG"])
API = client.ApiClient()
HOST = API.configuration.host
CORE = client.CoreV1Api(API)
APPS = client.AppsV1Api(API)
EXTENSIONS = client.ApiextensionsV1Api(API)

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


class Answer:
    """An answer as it came."""

    def __init__(self, response):
        self.code, self.headers, self.bytes = response.status, response.headers, response.data

    @property
    def json(self):
        return json.loads(self.bytes)

    def ok(self, *codes):
        """The body of an answer that must be a success."""
        assert self.code in (codes or (200, 201, 202)), f"{self.code}: {self.bytes[:2000]!r}"
        return self.json

    def refused(self, code, reason=None):
        """The Status of an answer that must be a refusal."""
        assert self.code == code, f"{self.code}: {self.bytes[:2000]!r}"
        status = self.json
        assert status["kind"] == "Status" and status["code"] == code, status
        assert reason is None or status["reason"] == reason, status
        return status


def ask(method, path, body=None, content_type="application/json", **headers):
    """A request as it is written; `accept="..."` and other headers by name."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    if body is not None:
        sent["content-type"] = content_type
        body = body if isinstance(body, (str, bytes)) else json.dumps(body)
    pool = API.rest_client.pool_manager
    return Answer(pool.request(method, HOST + path, body=body, headers=sent, timeout=PATIENCE_S))


def get(path, **headers):
    """A GET with a body that can be read."""
    return ask("GET", path, **headers).ok()


def here(resource, group="", name=""):
    """The path of a resource in the namespace of this run."""
    root = f"/apis/{group}" if group else "/api/v1"
    return f"{root}/namespaces/{NAMESPACE}/{resource}" + (f"/{name}" if name else "")


def create(path, body):
    """Creates an object."""
    return ask("POST", path, body).ok(201)


def word(length=5):
    """A word that nobody else uses."""
    return "".join(random.choices(string.ascii_lowercase, k=length))


def until(what, look):
    """Waits until `look` answers something that is true, and answers that."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"it did not come about that {what}: {found!r}")
        time.sleep(0.05)


def gone(path):
    """Waits until there is nothing at a path."""
    until(f"{path} is gone", lambda: ask("GET", path).code == 404)


def every_verb(path, made, has_status=False):
    """Every verb on objects of a cluster-wide kind that is found in discovery; `made` has its name as the label `of`."""
    (group, resource), name = path.rsplit("/", 1), made["metadata"]["name"]
    resources = [found["name"] for found in get(group)["resources"]]
    assert resource in resources, resources
    since = get(path)["metadata"]["resourceVersion"]
    create(path, made)
    query = f"?labelSelector=of%3D{name}"
    assert [found["metadata"]["name"] for found in get(path + query)["items"]] == [name]
    patched = ask("PATCH", f"{path}/{name}", {"metadata": {"annotations": {"patched": "true"}}}, MERGE).ok()
    assert patched["metadata"]["annotations"]["patched"] == "true", patched

    def updated():
        current = get(f"{path}/{name}")
        current["metadata"]["annotations"]["updated"] = "true"
        return ask("PUT", f"{path}/{name}", current).code == 200

    until("it is updated", updated)
    if has_status:
        assert f"{resource}/status" in resources, resources
        condition = {"type": "Tested", "status": "True", "reason": "E2E", "message": "", "lastTransitionTime": "2026-01-02T03:04:05Z"}
        ask("PATCH", f"{path}/{name}/status", {"status": {"conditions": [condition]}}, MERGE).ok()
        types = [found["type"] for found in get(f"{path}/{name}/status")["status"]["conditions"]]
        assert "Tested" in types, types
    ask("DELETE", f"{path}/{name}").ok()
    gone(f"{path}/{name}")
    seen = [kind for kind, _ in events(f"{path}{query}&watch=true&resourceVersion={since}", 3)]
    assert seen[:2] == ["ADDED", "MODIFIED"], seen
    create(path, made)
    ask("DELETE", path + query).ok()
    assert get(path + query)["items"] == []


_CACHE = tempfile.TemporaryDirectory()


def kubectl_line(*words):
    """The command line of kubectl in the namespace of this run."""
    program = os.environ.get("KUBECTL", "kubectl")
    return [program, "--cache-dir", _CACHE.name, "--namespace", NAMESPACE, *words]


def kubectl(*words, given=None, fails=False):
    """Runs kubectl, with `given` on its input; what it printed."""
    done = subprocess.run(kubectl_line(*words), input=given or "", capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode != 0) == fails, f"kubectl {words}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def definition(group, versions, kind="Thing", scope="Namespaced", labels=None, **more):
    """A CustomResourceDefinition: `versions` by name, each what it says beside its name."""
    plural = kind.lower() + "s"
    listed = [{"name": name, "served": True, "storage": at == 0, **says} for at, (name, says) in enumerate(versions.items())]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}", "labels": labels or {}},
        "spec": {
            "group": group,
            "scope": scope,
            "names": {"plural": plural, "singular": kind.lower(), "kind": kind, "listKind": kind + "List"},
            "versions": listed,
            **more,
        },
    }


def schema(properties=None, **more):
    """The part of a version that holds its schema."""
    root = {"type": "object", **({"properties": properties} if properties else {}), **more}
    return {"schema": {"openAPIV3Schema": root}}


OPEN = schema(**{"x-kubernetes-preserve-unknown-fields": True})
"""A version whose objects hold anything."""


def define(test, wanted):
    """Makes a definition, waits until it is established, and lets it go when the test (or the class of tests) ends."""
    made = create(DEFINITIONS, wanted)
    path = f"{DEFINITIONS}/{made['metadata']['name']}"
    at_end = test.addClassCleanup if isinstance(test, type) else test.addCleanup
    at_end(ask, "DELETE", path)

    def established():
        conditions = get(path).get("status", {}).get("conditions", [])
        return any(found["type"] == "Established" and found["status"] == "True" for found in conditions)

    until("the definition is established", established)
    return get(path)


def custom(wanted, version=None, name=""):
    """The path of a definition's objects."""
    spec = wanted["spec"]
    version = version or spec["versions"][0]["name"]
    return here(spec["names"]["plural"], f"{spec['group']}/{version}", name)


def events(path, count, **headers):
    """The next events of a watch: a list of pairs of type and object."""
    pool = API.rest_client.pool_manager
    response = pool.request("GET", HOST + path, headers=headers, preload_content=False, timeout=PATIENCE_S)
    assert response.status == 200, response.data
    found, rest = [], b""
    try:
        for piece in response.stream(amt=None):
            rest += piece
            while b"\n" in rest and len(found) < count:
                line, rest = rest.split(b"\n", 1)
                event = json.loads(line)
                found.append((event["type"], event["object"]))
            if len(found) >= count:
                break
    finally:
        response.close()
    return found


def pod(name, labels=None, **spec):
    """A pod of this machine's own image that waits."""
    container = {
        "name": "c",
        "image": "rkctl.local/busybox:1",
        "imagePullPolicy": "Never",
        "command": ["sh", "-c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [container], **spec},
    }
