/** The four rows of WIRE.md 10, told with the examples. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { recordKey, step } from "../src/domain.js";
import { encode } from "../src/events.js";
import { ASKED, CREATED, example, received } from "./story.js";

const ADA = step(null, received(ASKED)).state;

test("who asks first has the address", () => {
  const { state, secondaries, outputs } = step(null, received(ASKED));

  assert.deepEqual(state, { ...ASKED.data, command_id: ASKED.correlationid });
  assert.deepEqual(secondaries, { [`user:${ASKED.data.user_id}`]: ASKED.data });
  assert.deepEqual(encode("user", received(ASKED), outputs), [CREATED]);
});

test("the same command again gets the same answer, from the state", () => {
  const again = step(ADA, received(ASKED));

  assert.deepEqual(again, { state: ADA, secondaries: {}, outputs: step(null, received(ASKED)).outputs });
});

test("the address in other letters is the same address, and it is taken", () => {
  const taken = received(example("UserCreateRequested", "email_taken"), new Date("2026-01-15T09:32:00.049Z"));

  assert.equal(recordKey(taken), recordKey(received(ASKED)));
  const { state, secondaries, outputs } = step(ADA, taken);
  assert.equal(state, ADA);
  assert.deepEqual(secondaries, {});
  assert.deepEqual(encode("user", taken, outputs), [example("UserCreateRejected", "email_taken")]);
});

test("the same user_id with another body is a reused key", () => {
  const first = received(example("UserCreateRequested", "edges"));
  const reused = received(example("UserCreateRequested", "key_reused"), new Date("2026-01-15T09:33:00.056Z"));

  const { outputs } = step(step(null, first).state, reused);
  assert.deepEqual(encode("user", reused, outputs), [example("UserCreateRejected", "key_reused")]);
});

test("the key is folded, and holds no bar", () => {
  const key = (/** @type {string} */ email) => recordKey(received({ ...ASKED, data: { ...ASKED.data, email } }));

  assert.equal(key("ADA@Example.COM"), "email:ada@example.com");
  assert.equal(key("a||b%7C@X"), "email:a%7C%7Cb%257c@x");
  assert.equal(key("Straße@ß"), "email:strasse@ss");
});
