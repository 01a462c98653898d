// exec, attach, port-forward, cp and logs of a pod.

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { before, test } from "node:test";
import { Attach, CoreV1Api, Exec, Log, PortForward } from "@kubernetes/client-node";
import { NAMESPACE as namespace, config, until, within } from "./support.mjs";

const core = config.makeApiClient(CoreV1Api);
const NAME = "shell";

/** A stream that keeps what is written to it. */
class Kept extends Writable {
    text = "";

    _write(piece, _encoding, done) {
        this.text += piece;
        done();
    }
}

const container = (name, script, more = {}) => ({
    name,
    image: "rkctl.local/busybox:1",
    imagePullPolicy: "Never",
    command: ["sh", "-c", script],
    ...more,
});

before(async () => {
    const containers = [
        container("c", "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done"),
        container("web", "echo hello > /tmp/index.html; exec httpd -f -p 8080 -h /tmp"),
        container("talk", "while read line; do echo answer: $line; done; sleep 3600", { stdin: true }),
        container("count", "for i in 1 2 3 4 5; do echo line $i; sleep 0.2; done; sleep 3600"),
    ];
    await core.createNamespacedPod({ namespace, body: { metadata: { name: NAME }, spec: { terminationGracePeriodSeconds: 1, containers } } });
    await until("the containers run", async () => {
        const { status } = await core.readNamespacedPod({ name: NAME, namespace });
        return status?.containerStatuses?.every((found) => found.state?.running);
    });
});

/** Runs a command; answers with what it wrote and how it ended. */
async function run(command, input) {
    const [out, errors] = [new Kept(), new Kept()];
    const ended = new Promise((done, fail) => {
        new Exec(config).exec(namespace, NAME, "c", command, out, errors, input ?? null, false, done).catch(fail);
    });
    const status = await within(command.join(" "), ended);
    return { out: out.text, errors: errors.text, status };
}

test("a command hands on its outputs and its code", async () => {
    const ran = await run(["sh", "-c", "echo out; echo err >&2; exit 7"]);
    assert.deepEqual([ran.out, ran.errors, ran.status.status], ["out\n", "err\n", "Failure"]);
    const code = ran.status.details.causes.find((cause) => cause.reason === "ExitCode");
    assert.equal(code.message, "7");
});

test("a command reads what is written to it", async () => {
    const input = new PassThrough();
    input.write("one\n");
    const ran = await run(["sh", "-c", "read a; echo $a-$a"], input);
    assert.deepEqual([ran.out, ran.status.status], ["one-one\n", "Success"]);
});

test("many bytes come as they were sent", async () => {
    const ran = await run(["sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i of many; i=$((i+1)); done"]);
    const lines = ran.out.trimEnd().split("\n");
    assert.deepEqual([lines.length, lines[0], lines[19999]], [20000, "line 0 of many", "line 19999 of many"]);
});

test("attach talks with the container's process", async () => {
    const [out, input] = [new Kept(), new PassThrough()];
    const socket = await new Attach(config).attach(namespace, NAME, "talk", out, null, input, false);
    input.write("question\n");
    await until("it answers", () => out.text.includes("answer: question"));
    socket.close();
});

test("ports are forwarded", async () => {
    const forward = new PortForward(config);
    const server = net.createServer((socket) => {
        forward.portForward(namespace, NAME, [8080], socket, null, socket).catch((error) => socket.destroy(error));
    });
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    try {
        for (let round = 0; round < 3; round += 1) {
            const client = net.connect(server.address().port, "127.0.0.1");
            const out = new Kept();
            client.pipe(out);
            client.write("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n");
            await until("the pod answers", () => out.text.endsWith("hello\n"));
            client.destroy();
        }
    } finally {
        server.close();
    }
});

test("logs are read and followed", async () => {
    const whole = await core.readNamespacedPodLog({ name: NAME, namespace, container: "talk", tailLines: 1 });
    assert.equal(typeof whole, "string");
    const out = new Kept();
    const stop = await new Log(config).log(namespace, NAME, "count", out, { follow: true });
    await until("all lines are there", () => out.text.includes("line 5\n"));
    stop.abort();
    assert.equal(out.text, "line 1\nline 2\nline 3\nline 4\nline 5\n");
});

test("files are written through a command", async () => {
    const folder = await mkdtemp(join(tmpdir(), "rkctl-"));
    try {
        await writeFile(join(folder, "there"), "x".repeat(100_000));
        const input = new PassThrough();
        input.end(await readFile(join(folder, "there")));
        const ran = await run(["sh", "-c", "head -c 100000 | wc -c"], input);
        assert.equal(ran.out.trim(), "100000");
    } finally {
        await rm(folder, { recursive: true });
    }
});
