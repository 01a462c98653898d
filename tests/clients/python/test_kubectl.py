"""What people do with kubectl."""

import json
import os
import re
import socket
import subprocess
import tempfile
import unittest
import urllib.request

from support import NAMESPACE, ask, get, gone, here, kubectl, kubectl_line, pod, until, word

IMAGE = "rkctl.local/busybox:1"


def workload(kind, name, replicas=1, command=None, port=None):
    """A Deployment or ReplicationController as a file."""
    made = pod("x", {"app": name})
    container = made["spec"]["containers"][0]
    if command:
        container["command"] = ["sh", "-c", command]
    if port:
        container["ports"] = [{"containerPort": port}]
        container["readinessProbe"] = {"tcpSocket": {"port": port}, "periodSeconds": 1}
    template = {"metadata": {"labels": {"app": name}}, "spec": made["spec"]}
    is_old = kind == "ReplicationController"
    selector = {"app": name} if is_old else {"matchLabels": {"app": name}}
    return {
        "apiVersion": "v1" if is_old else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"replicas": replicas, "selector": selector, "template": template},
    }


def service(name, port):
    """A Service as a file."""
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": port}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def made(*objects):
    """kubectl creates objects."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
    return kubectl("create", "-f", "-", given=text)


class Kubectl(unittest.TestCase):
    # conformance: an application of several parts works from end to end
    def test_an_application_of_several_parts_works_from_end_to_end(self):
        back, front = "back" + word(), "front" + word()
        answers = "mkdir -p /tmp/www; echo entries > /tmp/www/index.html; exec httpd -f -p 6379 -h /tmp/www"
        asks = (
            "mkdir -p /tmp/www/cgi-bin; cd /tmp/www/cgi-bin; "
            f"printf '#!/bin/sh\\necho Content-Type: text/plain; echo; echo from $(hostname); wget -qO- http://{back}\\n' > ask; "
            "chmod +x ask; exec httpd -f -p 8080 -h /tmp/www"
        )
        made(service(back, 6379), service(front, 8080))
        made(workload("Deployment", back, 2, answers, 6379), workload("Deployment", front, 2, asks, 8080))
        for name in (back, front):
            kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s")
        path = here("services", name=f"{front}:80") + "/proxy/cgi-bin/ask"

        def answer():
            found = ask("GET", path)
            return found.code == 200 and b"entries" in found.bytes and found.bytes.decode()

        self.assertIn(f"from {front}-", until("the front answers with what the back has", answer))
        kubectl("delete", "deployment,service", back, front, "--wait=false")

    # conformance: kubectl lists the versions of the API
    def test_kubectl_lists_the_versions_of_the_api(self):
        self.assertIn("v1", kubectl("api-versions").split())

    # conformance: kubectl prints its version and the server's
    def test_kubectl_prints_its_version_and_the_servers(self):
        said = kubectl("version")
        self.assertTrue(re.search(r"Client Version: v1\.", said) and re.search(r"Server Version: v1\.37\.", said), said)

    # conformance: kubectl shows where the control plane is
    def test_kubectl_shows_where_the_control_plane_is(self):
        said = re.sub(r"\x1b\[[0-9;]*m", "", kubectl("cluster-info"))
        self.assertTrue(re.search(r"Kubernetes control plane is running at https://", said), said)

    # conformance: kubectl describes controllers, pods, services, nodes and namespaces
    def test_kubectl_describes_controllers_pods_services_nodes_and_namespaces(self):
        name = "rc" + word()
        made(workload("ReplicationController", name), service(name, 6379))
        pods = here("pods") + f"?labelSelector=app%3D{name}"
        until("the pod runs", lambda: [found for found in get(pods)["items"] if found["status"].get("phase") == "Running"])
        (running,) = get(pods)["items"]
        wanted = {
            f"rc {name}": ["Name:", "Namespace:", NAMESPACE, "Selector:", "Labels:", "Replicas:", "1 current", "1 desired", "Pods Status:", "1 Running", "Pod Template:", "Image:", IMAGE],
            f"pod {running['metadata']['name']}": ["Name:", "Namespace:", "Labels:", "Status:", "Running", "IP:", "Controlled By:", f"ReplicationController/{name}", "Image:", "State:", "QoS Class:"],
            f"service {name}": ["Name:", "Namespace:", "Labels:", "Selector:", "Type:", "ClusterIP", "IP:", "Port:", "80/TCP", "Endpoints:", "Session Affinity:"],
            f"node {running['spec']['nodeName']}": ["Name:", "Labels:", "Annotations:", "CreationTimestamp:", "Conditions:", "MemoryPressure", "DiskPressure", "PIDPressure", "Ready", "Addresses:", "Capacity:", "Kubelet Version:", "Non-terminated Pods"],
            f"namespace {NAMESPACE}": ["Name:", NAMESPACE, "Labels:", "Annotations:", "Status:", "Active", "No resource quota", "No LimitRange resource"],
        }
        for what, parts in wanted.items():
            said = kubectl("describe", *what.split())
            for part in parts:
                self.assertIn(part, said)
        kubectl("delete", "rc,service", name, "--wait=false")

    # conformance: kubectl runs an image as a pod
    def test_kubectl_runs_an_image_as_a_pod(self):
        name = "run" + word()
        kubectl("run", name, f"--image={IMAGE}", "--restart=Never", "--image-pull-policy=Never")
        found = get(here("pods", name=name))
        self.assertEqual((found["spec"]["containers"][0]["image"], found["spec"]["restartPolicy"]), (IMAGE, "Never"))
        kubectl("delete", "pod", name, "--wait=false")

    # conformance: kubectl sets and removes a label
    def test_kubectl_sets_and_removes_a_label(self):
        name = "label" + word()
        made(pod(name))
        kubectl("label", "pod", name, "testing-label=testing-label-value")
        self.assertIn("testing-label-value", kubectl("get", "pod", name, "-L", "testing-label"))
        kubectl("label", "pod", name, "testing-label-")
        self.assertNotIn("testing-label-value", kubectl("get", "pod", name, "-L", "testing-label"))
        kubectl("delete", "pod", name, "--wait=false")

    # conformance: kubectl patches annotations of pods
    def test_kubectl_patches_annotations_of_pods(self):
        name = "rc" + word()
        made(workload("ReplicationController", name, 2))
        path = here("pods") + f"?labelSelector=app%3D{name}"
        until("the pods are there", lambda: len(get(path)["items"]) == 2)
        for found in get(path)["items"]:
            kubectl("patch", "pod", found["metadata"]["name"], "-p", '{"metadata":{"annotations":{"x":"y"}}}')
        self.assertEqual([found["metadata"]["annotations"]["x"] for found in get(path)["items"]], ["y", "y"])
        kubectl("delete", "rc", name, "--wait=false")

    # conformance: kubectl replaces the image of a pod
    def test_kubectl_replaces_the_image_of_a_pod(self):
        name = "replace" + word()
        kubectl("run", name, f"--image={IMAGE}", f"--labels=run={name}", "--image-pull-policy=Never", "--command", "--", "sleep", "3600")
        until("it runs", lambda: get(here("pods", name=name))["status"].get("phase") == "Running")

        def replaced():
            text = kubectl("get", "pod", name, "-o", "json").replace(IMAGE, "rkctl.local/web:1")
            done = subprocess.run(kubectl_line("replace", "-f", "-"), input=text, capture_output=True, text=True, timeout=60)
            # Its status may have been written meanwhile.
            return done.returncode == 0

        until("it is replaced", replaced)
        self.assertEqual(get(here("pods", name=name))["spec"]["containers"][0]["image"], "rkctl.local/web:1")
        kubectl("delete", "pod", name, "--wait=false", "--grace-period=1")

    # conformance: kubectl exposes a controller and a service as services
    def test_kubectl_exposes_a_controller_and_a_service_as_services(self):
        name = "rc" + word()
        made(workload("ReplicationController", name, 1, "exec httpd -f -p 6379 -h /tmp", 6379))
        kubectl("expose", "rc", name, f"--name={name}-2", "--port=1234", "--target-port=6379")
        kubectl("expose", "service", f"{name}-2", f"--name={name}-3", "--port=2345", "--target-port=6379")
        for of, port in ((f"{name}-2", 1234), (f"{name}-3", 2345)):
            found = get(here("services", name=of))["spec"]["ports"][0]
            self.assertEqual((found["port"], found["targetPort"]), (port, 6379))

            def followed():
                subsets = ask("GET", here("endpoints", name=of)).json.get("subsets") or []
                return [entry["port"] for subset in subsets for entry in subset.get("ports", []) if subset.get("addresses")]

            self.assertEqual(until("its endpoints are there", followed), [6379])
        kubectl("delete", "rc", name, "--wait=false")
        kubectl("delete", "service", f"{name}-2", f"{name}-3", "--wait=false")

    # conformance: kubectl tells how a deployment would change
    def test_kubectl_tells_how_a_deployment_would_change(self):
        name = "diff" + word()
        text = json.dumps(workload("Deployment", name, 0))
        kubectl("create", "-f", "-", given=text)
        changed = text.replace(IMAGE, "rkctl.local/web:1")
        done = subprocess.run(kubectl_line("diff", "-f", "-"), input=changed, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stderr)
        lines = [(line[:1], line[1:].strip()) for line in done.stdout.splitlines()]
        for side, image in (("-", IMAGE), ("+", "rkctl.local/web:1")):
            self.assertIn((side, f"image: {image}"), lines)
        kubectl("delete", "deployment", name, "--wait=false")

    # conformance: a dry run on the server changes nothing
    def test_a_dry_run_on_the_server_changes_nothing(self):
        name = "dry" + word()
        made(pod(name))
        kubectl("patch", "pod", name, "--dry-run=server", "-p", '{"spec":{"containers":[{"name":"c","image":"rkctl.local/web:1"}]}}')
        self.assertEqual(get(here("pods", name=name))["spec"]["containers"][0]["image"], IMAGE)
        kubectl("delete", "pod", name, "--wait=false")

    # conformance: kubectl creates and stops a controller
    def test_kubectl_creates_and_stops_a_controller(self):
        name = "stop" + word()
        made(workload("ReplicationController", name, 2))
        path = here("pods") + f"?labelSelector=app%3D{name}"
        until("the pods run", lambda: [found["status"].get("phase") for found in get(path)["items"]] == ["Running"] * 2)
        kubectl("delete", "--grace-period=0", "--force", "rc", name)
        gone(here("replicationcontrollers", name=name))
        until("its pods are gone", lambda: not get(path)["items"])

    # conformance: kubectl scales a controller down and up
    def test_kubectl_scales_a_controller_down_and_up(self):
        name = "scale" + word()
        made(workload("ReplicationController", name, 2))
        path = here("pods") + f"?labelSelector=app%3D{name}"
        for replicas in (1, 2):
            kubectl("scale", "rc", name, f"--replicas={replicas}", "--timeout=60s")
            running = lambda: [found for found in get(path)["items"] if "deletionTimestamp" not in found["metadata"]]
            until(f"there are {replicas} pods", lambda: len(running()) == replicas)
        kubectl("delete", "rc", name, "--wait=false")

    # conformance: kubectl serves the API on a port of its choice
    def test_kubectl_serves_the_api_on_a_port_of_its_choice(self):
        with subprocess.Popen(kubectl_line("proxy", "--port=0"), stdout=subprocess.PIPE, text=True) as proxy:
            try:
                port = re.search(r"127\.0\.0\.1:(\d+)", proxy.stdout.readline())[1]
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/", timeout=20) as answer:
                    self.assertEqual(json.load(answer)["kind"], "APIVersions")
            finally:
                proxy.terminate()

    # conformance: kubectl serves the API on a socket
    def test_kubectl_serves_the_api_on_a_socket(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "test")
            with subprocess.Popen(kubectl_line("proxy", f"--unix-socket={path}"), stdout=subprocess.PIPE, text=True) as proxy:
                try:
                    self.assertIn(path, proxy.stdout.readline())
                    with socket.socket(socket.AF_UNIX) as stream:
                        stream.settimeout(20)
                        stream.connect(path)
                        stream.sendall(b"GET /api/ HTTP/1.0\r\nHost: localhost\r\n\r\n")
                        said = b"".join(iter(lambda: stream.recv(4096), b""))
                    self.assertIn(b'"APIVersions"', said.replace(b'": "', b'":"'))
                finally:
                    proxy.terminate()


if __name__ == "__main__":
    unittest.main()
