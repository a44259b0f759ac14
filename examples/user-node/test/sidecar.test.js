/** The client of the sidecar: special characters in keys, failed calls, an unreachable sidecar. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { TransientError } from "../src/errors.js";
import { Sidecar } from "../src/sidecar.js";
import { FakeSidecar, SIDECAR_TOKEN } from "./fake-sidecar.js";

/** @param {import("node:test").TestContext} context */
async function both(context) {
  const fake = await FakeSidecar.start(context);
  const sidecar = new Sidecar(fake.at);
  context.after(() => sidecar.close());
  return { fake, sidecar };
}

test("a key with special characters is saved and loaded", async (context) => {
  const { fake, sidecar } = await both(context);
  for (const key of ["email:a/b?c#d%25&e@x", "email:..%7C", "email:Ω🛒 +\"'\\"]) {
    assert.equal(await sidecar.insert(key, { key }), true);
    assert.deepEqual(fake.value(key), { key });
    assert.deepEqual(await sidecar.load(key), { value: { key }, etag: "1" });
    assert.equal(await sidecar.insert(key, {}), false);
    assert.equal(await sidecar.save(key, { again: key }, "1"), true);
    assert.equal(await sidecar.save(key, { late: key }, "1"), false);
    assert.deepEqual(fake.value(key), { again: key });
  }
  assert.equal(sidecar.storeIsUnreachable, false);
});

test("a refused save or insert is a transient error with the reason", async (context) => {
  const { fake, sidecar } = await both(context);
  fake.fate = ({ kind }) => (kind === "save" ? 500 : undefined);

  await assert.rejects(sidecar.save("a", {}), TransientError); // no other process wrote it
  await assert.rejects(sidecar.insert("a", {}), TransientError);
  assert.equal(sidecar.storeTrouble(), "the store refuses writes: 500");
  await sidecar.load("a");
  assert.notEqual(sidecar.writeRefusal, ""); // a read does not clear it
  fake.fate = () => undefined;
  assert.equal(await sidecar.storeAnswers(), true);
  assert.equal(sidecar.storeTrouble(), "");
});

test("without a sidecar calls fail, and the store is unreachable until a state call succeeds", async (context) => {
  const { fake, sidecar } = await both(context);
  const gone = new Sidecar({ host: "127.0.0.1", port: 1, token: SIDECAR_TOKEN });
  assert.equal(await gone.save("a", {}), false);
  assert.equal(gone.storeIsUnreachable, true);
  await assert.rejects(gone.publish({ id: "1", type: "UserCreated" }), TransientError);

  fake.fate = (_, number) => (number === 0 ? "lost before" : undefined);
  await assert.rejects(sidecar.load("a"), TransientError);
  assert.equal(sidecar.storeIsUnreachable, true);
  assert.equal(await sidecar.save("a", {}), true);
  assert.equal(sidecar.storeIsUnreachable, false);
});

test("a wrong token is a transient error", async (context) => {
  const { fake } = await both(context);
  const stranger = new Sidecar({ ...fake.at, token: "other" });
  context.after(() => stranger.close());

  await assert.rejects(stranger.load("a"), TransientError);
});
