// Watches and informers, which must see everything once and in order, also after their connection broke.

import assert from "node:assert/strict";
import { test } from "node:test";
import { CoreV1Api, Watch, makeInformer } from "@kubernetes/client-node";
import WebSocket from "ws";
import { NAMESPACE as namespace, config, until, within, word } from "./support.mjs";

const core = config.makeApiClient(CoreV1Api);
const path = `/api/v1/namespaces/${namespace}/configmaps`;

const make = (name, label, data = {}) =>
    core.createNamespacedConfigMap({ namespace, body: { metadata: { name, labels: { label } }, data } });

async function change(name, data) {
    const body = await core.readNamespacedConfigMap({ name, namespace });
    return core.replaceNamespacedConfigMap({ name, namespace, body: { ...body, data } });
}

/** The next `count` events of a watch. */
async function next(count, query) {
    const found = [];
    let stop;
    const seen = new Promise((done, fail) => {
        stop = new Watch(config).watch(
            path,
            query,
            (type, object) => {
                found.push([type, object.metadata.name, object.metadata.resourceVersion]);
                if (found.length === count) done();
            },
            (error) => (found.length >= count ? done() : fail(error ?? new Error(`the watch ended after ${found.length}`))),
        );
    });
    await within(`${count} events`, seen);
    (await stop).abort();
    return found;
}

test("a watch goes on after the version that was seen last", async () => {
    const label = word();
    const made = await make("first-" + label, label);
    await change("first-" + label, { a: "1" });
    await core.deleteNamespacedConfigMap({ name: "first-" + label, namespace });
    await make("second-" + label, label);
    const since = { labelSelector: `label=${label}`, resourceVersion: made.metadata.resourceVersion };
    const events = await next(3, since);
    assert.deepEqual(events.map(([type, name]) => [type, name]), [
        ["MODIFIED", "first-" + label],
        ["DELETED", "first-" + label],
        ["ADDED", "second-" + label],
    ]);
    const rest = await next(2, { ...since, resourceVersion: events[0][2] });
    assert.deepEqual(rest, events.slice(1));
});

test("a watch with bookmarks tells the initial list and its end", async () => {
    const label = word();
    await make("one-" + label, label);
    const query = { labelSelector: `label=${label}`, sendInitialEvents: true, resourceVersionMatch: "NotOlderThan", allowWatchBookmarks: true };
    const events = await next(2, query);
    assert.deepEqual(events.map(([type]) => type), ["ADDED", "BOOKMARK"]);
});

test("an informer holds what there is and hears of every change", async () => {
    const label = word();
    await make("before-" + label, label, { at: "0" });
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: `label=${label}` });
    const informer = makeInformer(config, path, list, `label=${label}`);
    const heard = [];
    for (const verb of ["add", "update", "delete"]) informer.on(verb, (object) => heard.push([verb, object.metadata.name, object.data?.at]));
    informer.on("error", (error) => heard.push(["error", String(error)]));
    await informer.start();
    try {
        await until("the informer has its list", () => informer.get("before-" + label, namespace));
        await make("after-" + label, label, { at: "1" });
        await change("after-" + label, { at: "2" });
        await core.deleteNamespacedConfigMap({ name: "before-" + label, namespace });
        await until("it has heard of everything", () => heard.length === 4);
        assert.deepEqual(heard, [
            ["add", "before-" + label, "0"],
            ["add", "after-" + label, "1"],
            ["update", "after-" + label, "2"],
            ["delete", "before-" + label, "0"],
        ]);
        assert.deepEqual(informer.list(namespace).map((object) => object.data.at), ["2"]);
    } finally {
        await informer.stop();
    }
});

test("an informer goes on where it was when its watch ends", async () => {
    const label = word();
    // The watch that the informer makes ends each second.
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector: `label=${label}` });
    const informer = makeInformer(config, `${path}?timeoutSeconds=1`, list, `label=${label}`);
    const heard = [];
    informer.on("add", (object) => heard.push(object.metadata.name));
    await informer.start();
    try {
        for (let at = 0; at < 12; at += 1) {
            await make(`${label}-${at}`, label);
            await new Promise((wake) => setTimeout(wake, 200));
        }
        await until("it has heard of all", () => heard.length >= 12);
        assert.deepEqual(heard, Array.from({ length: 12 }, (_, at) => `${label}-${at}`));
    } finally {
        await informer.stop();
    }
});

test("a watch is read over WebSockets", async () => {
    const label = word();
    const made = await make(label, label);
    const options = {};
    await config.applyToHTTPSOptions(options);
    const url = `${config.getCurrentCluster().server.replace("https", "wss")}${path}?watch=true&labelSelector=label%3D${label}&resourceVersion=0`;
    const socket = new WebSocket(url, options);
    const events = [];
    socket.on("message", (bytes) => events.push(JSON.parse(bytes)));
    const closed = new Promise((done, fail) => socket.on("close", done).on("error", fail));
    await until("the object is told", () => events.length === 1);
    await change(label, { a: "1" });
    await until("the change is told", () => events.length === 2);
    assert.deepEqual(events.map((event) => [event.type, event.object.metadata.uid]), [
        ["ADDED", made.metadata.uid],
        ["MODIFIED", made.metadata.uid],
    ]);
    socket.close();
    await within("the end", closed);
});
