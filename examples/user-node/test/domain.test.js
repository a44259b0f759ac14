/** The rows of WIRE.md 10, with the example events. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { encode } from "../src/events.js";
import { REQUEST, CREATED, HASH, SERVICE, example, received } from "./story.js";

const { recordKey, step } = SERVICE;
const ADA = step(null, undefined, received(REQUEST)).state;
const ADDRESS_HASH = HASH(REQUEST.data.email);
const READ = { ...REQUEST.data, address_hash: ADDRESS_HASH, erased: false };
const GRACE = example("UserCreateRequested", "to_be_erased");
const ERASE = example("UserEraseRequested", "typical");
const GONE = { ...ERASE.data, email: "", name: "", erased: true };

test("the first command registers the address", () => {
  const { state, secondaries, outputs } = step(null, undefined, received(REQUEST));

  assert.deepEqual(state, { ...REQUEST.data, command_id: REQUEST.correlationid });
  assert.deepEqual(secondaries, { [`user:${REQUEST.data.user_id}`]: READ });
  assert.deepEqual(encode("user", received(REQUEST), outputs), [CREATED]);
});

test("a repeated command gets the same answer from the state", () => {
  const again = step(ADA, READ, received(REQUEST));

  assert.deepEqual(again, { state: ADA, secondaries: {}, outputs: step(null, undefined, received(REQUEST)).outputs });
});

test("an address that differs in case is the same address and is taken", () => {
  const rejected = example("UserCreateRejected", "email_taken");
  const taken = received(example("UserCreateRequested", "email_taken"), new Date(rejected.time));

  assert.equal(recordKey(taken), recordKey(received(REQUEST)));
  const { state, secondaries, outputs } = step(ADA, undefined, taken);
  assert.equal(state, ADA);
  assert.deepEqual(secondaries, {});
  assert.deepEqual(encode("user", taken, outputs), [rejected]);
});

test("the same user_id with another body is rejected with key_reused", () => {
  const first = received(example("UserCreateRequested", "edges"));
  const rejected = example("UserCreateRejected", "key_reused");
  const reused = received(example("UserCreateRequested", "key_reused"), new Date(rejected.time));

  const { outputs } = step(step(null, undefined, first).state, undefined, reused);
  assert.deepEqual(encode("user", reused, outputs), [rejected]);
});

test("a user has one address", () => {
  const other = received({ ...REQUEST, data: { ...REQUEST.data, email: "ada@example.org" } });

  const { state, outputs } = step(null, READ, other);
  assert.equal(state, null);
  assert.equal(/** @type {any} */ (outputs[0].data).reason, "key_reused");
});

test("an erasure frees the address and overwrites the record of the user", () => {
  const erased = example("UserErased", "typical");
  const erasing = received(ERASE, new Date(erased.time));
  const grace = step(null, undefined, received(GRACE)).state;

  const { state, outputs, erased: forms } = step(grace, undefined, erasing);
  assert.equal(state, null);
  assert.deepEqual(forms, { [`user:${ERASE.data.user_id}`]: GONE });
  assert.deepEqual(encode("user", erasing, outputs), [erased]);
  assert.equal(recordKey(erasing), recordKey(received(GRACE)));
});

test("a repeated erasure publishes again and erases nothing", () => {
  const next = step(null, undefined, received(example("UserCreateRequested", "address_free_again"))).state;

  for (const state of [null, next]) {
    const again = step(state, GONE, received(ERASE));
    assert.equal(again.state, state);
    assert.equal(again.erased, undefined);
    assert.equal(again.outputs[0].type, "UserErased");
  }
});

test("an erased user never returns", () => {
  const rejected = example("UserCreateRejected", "erased");
  const late = received(example("UserCreateRequested", "erased"), new Date(rejected.time));

  const { state, secondaries, outputs } = step(null, GONE, late);
  assert.equal(state, null);
  assert.deepEqual(secondaries, {});
  assert.deepEqual(encode("user", late, outputs), [rejected]);
});

test("the record key is the hash of the case-folded address", () => {
  const key = (/** @type {string} */ email) => recordKey(received({ ...REQUEST, data: { ...REQUEST.data, email } }));

  assert.equal(key("ADA@Example.COM"), `email:${ADDRESS_HASH}`);
  assert.equal(key("Straße@ß"), `email:${HASH("strasse@ss")}`);
});
