"""exec, attach, port-forward and logs through the client, which speaks WebSockets of the fourth version."""

import time
import unittest

from kubernetes import client, watch
from kubernetes.stream import portforward, stream, ws_client

from support import API, CORE, NAMESPACE, create, get, here, pod, until

SHELL = here("pods")


def connect(method, name, **options):
    """A stream of its own client: the library replaces a client's way to send while it connects."""
    api = client.CoreV1Api(client.ApiClient())
    return stream(getattr(api, method), name, NAMESPACE, _preload_content=False, **options)


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        shell = pod("shell")
        web, talk = dict(shell["spec"]["containers"][0]), dict(shell["spec"]["containers"][0])
        web.update(name="web", command=["sh", "-c", "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"])
        talk.update(name="talk", stdin=True, command=["sh", "-c", "while read line; do echo answer: $line; done; sleep 3600"])
        shell["spec"]["containers"] += [web, talk]
        create(SHELL, shell)

        def runs():
            statuses = get(f"{SHELL}/shell")["status"].get("containerStatuses", [])
            return len(statuses) == 3 and all("running" in status["state"] for status in statuses)

        until("the containers run", runs)

    # conformance: a command is run over WebSockets
    def test_a_command_is_run_over_websockets(self):
        command = ["sh", "-c", "echo out; echo err >&2; exit 7"]
        options = dict(container="c", command=command, stdin=False, stdout=True, stderr=True, tty=False)
        session = connect("connect_get_namespaced_pod_exec", "shell", **options)
        session.run_forever(timeout=30)
        self.assertEqual((session.read_stdout(), session.read_stderr(), session.returncode), ("out\n", "err\n", 7))

    def test_a_command_reads_what_is_written_to_it(self):
        command = ["sh", "-c", "read a; echo $a-$a; read b; echo $b"]
        options = dict(container="c", command=command, stdin=True, stdout=True, stderr=True)
        session = connect("connect_get_namespaced_pod_exec", "shell", **options)
        session.write_stdin("one\n")
        self.assertEqual(session.readline_stdout(timeout=30), "one-one")
        session.write_stdin("two\n")
        self.assertEqual(session.readline_stdout(timeout=30), "two")
        session.run_forever(timeout=30)
        self.assertEqual(session.returncode, 0)

    def test_a_command_has_a_terminal_with_a_size(self):
        options = dict(container="c", command=["sh"], stdin=True, stdout=True, tty=True)
        session = connect("connect_get_namespaced_pod_exec", "shell", **options)
        session.write_channel(4, '{"Width": 97, "Height": 41}')
        said = ""
        deadline = time.monotonic() + 30
        while "41 97" not in said and time.monotonic() < deadline:
            session.write_stdin("stty size\n")
            session.update(timeout=0.5)
            said += session.read_stdout()
        self.assertIn("41 97", said)
        session.write_stdin("exit 3\n")
        session.run_forever(timeout=30)
        self.assertEqual(session.returncode, 3)

    def test_a_container_that_is_not_there_is_told(self):
        with self.assertRaises(client.ApiException) as refused:
            connect("connect_get_namespaced_pod_exec", "shell", container="nobody", command=["sh"], stdout=True)
        self.assertIn("400", str(refused.exception))

    def test_attach_talks_with_the_containers_process(self):
        session = connect("connect_get_namespaced_pod_attach", "shell", container="talk", stdin=True, stdout=True)
        session.write_stdin("question\n")
        self.assertEqual(session.readline_stdout(timeout=30), "answer: question")
        session.close()

    def test_ports_are_forwarded(self):
        api = client.CoreV1Api(client.ApiClient())
        forward = portforward(api.connect_get_namespaced_pod_portforward, "shell", NAMESPACE, ports="8080")
        connection = forward.socket(8080)
        connection.setblocking(True)
        connection.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
        said = b"".join(iter(lambda: connection.recv(4096), b""))
        connection.close()
        self.assertTrue(said.startswith(b"HTTP/1.") and said.endswith(b"hello\n"), said)
        self.assertIsNone(forward.error(8080))

    # conformance: logs are read over WebSockets
    def test_logs_are_read_over_websockets(self):
        from kubernetes.stream import ws_client

        talked = connect("connect_get_namespaced_pod_attach", "shell", container="talk", stdin=True, stdout=True)
        talked.write_stdin("logged\n")
        self.assertEqual(talked.readline_stdout(timeout=30), "answer: logged")
        talked.close()
        until("it is in the log", lambda: "answer: logged" in CORE.read_namespaced_pod_log("shell", NAMESPACE, container="talk"))
        url = API.configuration.host.replace("https", "wss") + f"{SHELL}/shell/log?container=talk"
        socket = ws_client.create_websocket(API.configuration, url, {"sec-websocket-protocol": "binary.k8s.io"})
        said = b""
        while b"answer: logged\n" not in said:
            piece = socket.recv()
            if not piece:
                break
            said += piece if isinstance(piece, bytes) else piece.encode()
        socket.close()
        self.assertIn(b"answer: logged\n", said)

    def test_logs_are_followed(self):
        made = pod("counts", restartPolicy="Never")
        made["spec"]["containers"][0]["command"] = ["sh", "-c", "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done"]
        create(SHELL, made)
        until("it runs", lambda: get(f"{SHELL}/counts")["status"].get("phase") in ("Running", "Succeeded"))
        lines = list(watch.Watch().stream(CORE.read_namespaced_pod_log, name="counts", namespace=NAMESPACE, follow=True))
        self.assertEqual(lines, [f"line {number}" for number in range(1, 6)])


if __name__ == "__main__":
    unittest.main()
