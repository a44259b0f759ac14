/** Keyed hashes: one secret in the store, whichever process comes first. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { KeyedHash, keyedHash } from "../src/keyed-hash.js";
import { Sidecar } from "../src/sidecar.js";
import { FakeSidecar } from "./fake-sidecar.js";
import { HASH, example } from "./story.js";

/** @param {import("node:test").TestContext} context @param {FakeSidecar} fake */
async function loaded(context, fake) {
  const sidecar = new Sidecar(fake.at);
  context.after(() => sidecar.close());
  const hash = new KeyedHash(sidecar);
  await hash.load();
  return hash;
}

test("the hash is that of the examples", () => {
  const { email } = example("UserCreateRequested", "to_be_erased").data;

  assert.equal(HASH(email), example("UserEraseRequested", "typical").data.address_hash);
});

test("the first process inserts the secret and the others use it", async (context) => {
  const fake = await FakeSidecar.start(context);

  const hashes = [await loaded(context, fake), await loaded(context, fake)].map((hash) => hash.of("é@b.c"));

  const { secret } = fake.value("address-secret");
  assert.match(secret, /^[0-9a-f]{64}$/);
  assert.deepEqual(new Set(hashes), new Set([keyedHash(Buffer.from(secret, "hex"), "é@b.c")]));
  assert.equal(fake.calls.filter(({ kind }) => kind === "save").length, 1);
});

test("a process that loses the race takes the other secret", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.fate = ({ kind }) => void (kind === "save" && fake.put("address-secret", { secret: "00ff" }));

  assert.equal((await loaded(context, fake)).of("a@b.c"), keyedHash(Buffer.from([0, 255]), "a@b.c"));
});

test("a hash before the load is a bug", () => {
  const hash = new KeyedHash(new Sidecar({ host: "127.0.0.1", port: 1, token: "t" }));

  assert.throws(() => hash.of("a@b.c"), /the secret is not loaded/);
});
