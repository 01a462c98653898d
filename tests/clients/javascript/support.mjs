// What the tests share: the cluster and the namespace that they were given, and waiting. Nothing here
// knows what is tested. `KUBECONFIG` and `NAMESPACE` name both.

import assert from "node:assert/strict";
import { KubeConfig } from "@kubernetes/client-node";

export const NAMESPACE = process.env.NAMESPACE;
/** A condition that does not come about in this time never will. */
export const PATIENCE_MS = 60_000;

export const config = new KubeConfig();
config.loadFromFile(process.env.KUBECONFIG);

/** A word that nobody else uses. */
export const word = () => Math.random().toString(36).slice(2, 10).replace(/^[0-9]/, "x");

/** Waits until `look` answers something that is true, and answers that. */
export async function until(what, look) {
    const deadline = Date.now() + PATIENCE_MS;
    for (;;) {
        const found = await look();
        if (found) return found;
        if (Date.now() > deadline) throw new Error(`it did not come about that ${what}`);
        await new Promise((wake) => setTimeout(wake, 50));
    }
}

/** Bounds something that should end by itself. */
export async function within(what, promise) {
    let timer;
    const late = new Promise((_, fail) => {
        timer = setTimeout(() => fail(new Error(`${what} did not come in time`)), PATIENCE_MS);
    });
    try {
        return await Promise.race([promise, late]);
    } finally {
        clearTimeout(timer);
    }
}

/** The failure of a request that must fail, with its code and its Status. */
export async function refusal(promise) {
    try {
        await promise;
    } catch (error) {
        return { code: error.code, status: typeof error.body === "string" ? JSON.parse(error.body) : error.body };
    }
    return assert.fail("it should have been refused");
}
