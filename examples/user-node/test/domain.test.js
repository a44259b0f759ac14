/** The four rows of WIRE.md 10, with the example events. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { recordKey, step } from "../src/domain.js";
import { encode } from "../src/events.js";
import { REQUEST, CREATED, example, received } from "./story.js";

const ADA = step(null, received(REQUEST)).state;

test("the first command registers the address", () => {
  const { state, secondaries, outputs } = step(null, received(REQUEST));

  assert.deepEqual(state, { ...REQUEST.data, command_id: REQUEST.correlationid });
  assert.deepEqual(secondaries, { [`user:${REQUEST.data.user_id}`]: REQUEST.data });
  assert.deepEqual(encode("user", received(REQUEST), outputs), [CREATED]);
});

test("a repeated command gets the same answer from the state", () => {
  const again = step(ADA, received(REQUEST));

  assert.deepEqual(again, { state: ADA, secondaries: {}, outputs: step(null, received(REQUEST)).outputs });
});

test("an address that differs in case is the same address and is taken", () => {
  const rejected = example("UserCreateRejected", "email_taken");
  const taken = received(example("UserCreateRequested", "email_taken"), new Date(rejected.time));

  assert.equal(recordKey(taken), recordKey(received(REQUEST)));
  const { state, secondaries, outputs } = step(ADA, taken);
  assert.equal(state, ADA);
  assert.deepEqual(secondaries, {});
  assert.deepEqual(encode("user", taken, outputs), [rejected]);
});

test("the same user_id with another body is rejected with key_reused", () => {
  const first = received(example("UserCreateRequested", "edges"));
  const rejected = example("UserCreateRejected", "key_reused");
  const reused = received(example("UserCreateRequested", "key_reused"), new Date(rejected.time));

  const { outputs } = step(step(null, first).state, reused);
  assert.deepEqual(encode("user", reused, outputs), [rejected]);
});

test("the record key is case-folded and contains no vertical bar", () => {
  const key = (/** @type {string} */ email) => recordKey(received({ ...REQUEST, data: { ...REQUEST.data, email } }));

  assert.equal(key("ADA@Example.COM"), "email:ada@example.com");
  assert.equal(key("a||b%7C@X"), "email:a%7C%7Cb%257c@x");
  assert.equal(key("Straße@ß"), "email:strasse@ss");
});
