// Objects through the typed and the untyped client: made, read, listed, changed in every way, deleted; and refusals.

import assert from "node:assert/strict";
import { test } from "node:test";
import {
    ApiextensionsV1Api,
    AppsV1Api,
    CoreV1Api,
    CustomObjectsApi,
    KubernetesObjectApi,
    PatchStrategy,
    VersionApi,
    setHeaderOptions,
} from "@kubernetes/client-node";
import { NAMESPACE as namespace, config, refusal, until, word } from "./support.mjs";

const core = config.makeApiClient(CoreV1Api);
const apps = config.makeApiClient(AppsV1Api);

function deployment(name, image = "a:1") {
    const labels = { app: name };
    return {
        apiVersion: "apps/v1",
        kind: "Deployment",
        metadata: { name, namespace },
        spec: {
            replicas: 0,
            selector: { matchLabels: labels },
            template: { metadata: { labels }, spec: { containers: [{ name: "c", image }] } },
        },
    };
}

test("the server tells its version", async () => {
    const version = await config.makeApiClient(VersionApi).getCode();
    assert.match(version.gitVersion, /^v1\.37\./);
});

test("objects are made, read, listed, replaced and deleted", async () => {
    const name = word();
    const made = await core.createNamespacedConfigMap({
        namespace,
        body: { metadata: { name, labels: { of: name } }, data: { a: "1" }, binaryData: { b: "AAEC" } },
    });
    assert.ok(made.metadata.creationTimestamp instanceof Date);
    const read = await core.readNamespacedConfigMap({ name, namespace });
    assert.deepEqual(read, made);
    read.data.a = "2";
    const replaced = await core.replaceNamespacedConfigMap({ name, namespace, body: read });
    assert.notEqual(replaced.metadata.resourceVersion, made.metadata.resourceVersion);
    const list = await core.listConfigMapForAllNamespaces({ labelSelector: `of=${name}` });
    assert.deepEqual(list.items.map((item) => item.data.a), ["2"]);
    const gone = await core.deleteNamespacedConfigMap({ name, namespace });
    assert.equal(gone.status, "Success");
    assert.equal((await refusal(core.readNamespacedConfigMap({ name, namespace }))).code, 404);
});

test("lists come in pages", async () => {
    const label = word();
    for (let at = 0; at < 5; at += 1) {
        const body = { metadata: { generateName: "page-", labels: { label } } };
        await core.createNamespacedConfigMap({ namespace, body });
    }
    const found = new Set();
    let _continue;
    do {
        const page = await core.listNamespacedConfigMap({ namespace, labelSelector: `label=${label}`, limit: 2, _continue });
        page.items.forEach((item) => found.add(item.metadata.name));
        _continue = page.metadata._continue;
    } while (_continue);
    assert.equal(found.size, 5);
    await core.deleteCollectionNamespacedConfigMap({ namespace, labelSelector: `label=${label}` });
    assert.equal((await core.listNamespacedConfigMap({ namespace, labelSelector: `label=${label}` })).items.length, 0);
});

test("objects are changed by every kind of patch", async () => {
    const name = word();
    await apps.createNamespacedDeployment({ namespace, body: deployment(name) });
    const patch = (body, form) => apps.patchNamespacedDeployment({ name, namespace, body }, setHeaderOptions("Content-Type", form));
    let now = await patch([{ op: "add", path: "/metadata/annotations", value: { a: "1" } }], PatchStrategy.JsonPatch);
    assert.equal(now.metadata.annotations.a, "1");
    now = await patch({ metadata: { annotations: { a: null, b: "2" } } }, PatchStrategy.MergePatch);
    assert.equal(now.metadata.annotations.a, undefined);
    const side = { spec: { template: { spec: { containers: [{ name: "side", image: "s:1" }] } } } };
    now = await patch(side, PatchStrategy.StrategicMergePatch);
    assert.deepEqual(now.spec.template.spec.containers.map((found) => found.name).sort(), ["c", "side"]);
    const applied = { apiVersion: "apps/v1", kind: "Deployment", metadata: { name }, spec: { minReadySeconds: 3 } };
    const form = setHeaderOptions("Content-Type", PatchStrategy.ServerSideApply);
    now = await apps.patchNamespacedDeployment({ name, namespace, body: applied, fieldManager: "javascript", force: true }, form);
    assert.equal(now.spec.minReadySeconds, 3);
    assert.ok(now.metadata.managedFields.some((entry) => entry.manager === "javascript" && entry.operation === "Apply"));
    const scale = await apps.readNamespacedDeploymentScale({ name, namespace });
    assert.equal(scale.spec.replicas, 0);
    await apps.deleteNamespacedDeployment({ name, namespace });
});

test("a configuration of objects is applied as it stands", async () => {
    const client = KubernetesObjectApi.makeApiClient(config);
    const body = deployment(word());
    const made = await client.create(body);
    assert.equal(made.kind, "Deployment");
    const read = await client.read({ apiVersion: body.apiVersion, kind: body.kind, metadata: body.metadata });
    assert.equal(read.metadata.uid, made.metadata.uid);
    body.spec.template.spec.containers[0].image = "a:2";
    const patched = await client.patch(body, undefined, undefined, "javascript", true, PatchStrategy.ServerSideApply);
    assert.equal(patched.spec.template.spec.containers[0].image, "a:2");
    assert.ok((await client.list("apps/v1", "Deployment", namespace)).items.length >= 1);
    await client.delete(body);
});

test("custom objects are objects like others", async () => {
    const group = `${word()}.example.com`;
    const definitions = config.makeApiClient(ApiextensionsV1Api);
    const openAPIV3Schema = {
        type: "object",
        properties: { spec: { type: "object", required: ["size"], properties: { size: { type: "integer", minimum: 1 } } } },
    };
    const name = `widgets.${group}`;
    await definitions.createCustomResourceDefinition({
        body: {
            metadata: { name },
            spec: {
                group,
                scope: "Namespaced",
                names: { plural: "widgets", singular: "widget", kind: "Widget", listKind: "WidgetList" },
                versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema }, subresources: { status: {} } }],
            },
        },
    });
    try {
        await until("it is established", async () => {
            const { status } = await definitions.readCustomResourceDefinition({ name });
            return status?.conditions?.some((found) => found.type === "Established" && found.status === "True");
        });
        const objects = config.makeApiClient(CustomObjectsApi);
        const place = { group, version: "v1", namespace, plural: "widgets" };
        const body = { apiVersion: `${group}/v1`, kind: "Widget", metadata: { name: "one" }, spec: { size: 1 } };
        await objects.createNamespacedCustomObject({ ...place, body });
        const step = [{ op: "replace", path: "/spec/size", value: 2 }];
        const form = setHeaderOptions("Content-Type", PatchStrategy.JsonPatch);
        const patched = await objects.patchNamespacedCustomObject({ ...place, name: "one", body: step }, form);
        assert.deepEqual(patched.spec, { size: 2 });
        const wrong = await refusal(objects.createNamespacedCustomObject({ ...place, body: { ...body, metadata: { name: "two" }, spec: { size: 0 } } }));
        assert.equal(wrong.code, 422);
        const list = await objects.listNamespacedCustomObject(place);
        assert.equal(list.items.length, 1);
    } finally {
        await definitions.deleteCustomResourceDefinition({ name });
    }
});

test("refusals are Statuses with a reason, a code and what they are about", async () => {
    const name = word();
    const missing = await refusal(core.readNamespacedSecret({ name, namespace }));
    assert.deepEqual([missing.code, missing.status.kind, missing.status.reason], [404, "Status", "NotFound"]);
    assert.deepEqual(missing.status.details, { name, kind: "secrets" });
    await core.createNamespacedSecret({ namespace, body: { metadata: { name }, stringData: { a: "b" } } });
    const twice = await refusal(core.createNamespacedSecret({ namespace, body: { metadata: { name } } }));
    assert.deepEqual([twice.code, twice.status.reason], [409, "AlreadyExists"]);
    const old = await core.readNamespacedSecret({ name, namespace });
    await core.replaceNamespacedSecret({ name, namespace, body: { ...old, data: { a: "Yw==" } } });
    const late = await refusal(core.replaceNamespacedSecret({ name, namespace, body: { ...old, data: { a: "ZA==" } } }));
    assert.deepEqual([late.code, late.status.reason], [409, "Conflict"]);
    const wrong = await refusal(core.createNamespacedPod({ namespace, body: { metadata: { name: "Not-Valid" }, spec: { containers: [] } } }));
    assert.deepEqual([wrong.code, wrong.status.reason], [422, "Invalid"]);
    const fields = wrong.status.details.causes.map((cause) => cause.field);
    assert.ok(fields.includes("metadata.name") && fields.includes("spec.containers"), fields.join());
});
