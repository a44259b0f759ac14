/** The derived ids match WIRE.md and the example events. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { isUuid, uuid5 } from "../src/ids.js";
import { example } from "./story.js";

test("the ids match the worked examples in WIRE.md", () => {
  const command = uuid5("019bc0fd-89c0-78c9-9e0d-a0c3d985694a", '{"email":"ada@example.com","name":"Ada Lovelace"}');
  assert.equal(command, "3c52a065-179e-5127-a8e6-d80fa82f8917");
  const created = uuid5(command, "user" + "UserCreated" + "0");
  assert.equal(created, "9860e3cc-0a83-51cb-a7ae-33d65871e232");
  assert.equal(uuid5(created, "billing" + "BillingAccountCreated" + "0"), "75655d42-55c8-58cc-9dc8-8f0780fb8cd0");
  assert.equal(
    uuid5("8a4f6f0c-43a5-5b61-9d0f-3f4a4b6f7c10", "/order/create\n019bc0fd-89c0-78c9-9e0d-a0c3d985694a\nmy-key"),
    "76834ea9-49c8-5667-a099-a8cd501fd710",
  );
});

test("the id of every example answer derives from its command", () => {
  for (const [topic, name] of [
    ["UserCreated", "typical"],
    ["UserCreated", "edges"],
    ["UserCreateRejected", "email_taken"],
    ["UserCreateRejected", "key_reused"],
  ]) {
    const { id, correlationid } = example(topic, name);
    assert.equal(uuid5(correlationid, `user${topic}0`), id);
  }
});

test("the id of a command derives from its body in UTF-8", () => {
  const { id, data } = example("UserCreateRequested", "edges");
  const { user_id, ...body } = data;
  assert.equal(uuid5(user_id, JSON.stringify(body)), id);
});

test("only the canonical form is a UUID", () => {
  const uuid = "019bc0fd-89c0-78c9-9e0d-a0c3d985694a";
  assert.ok(isUuid(uuid));
  for (const other of [
    uuid.toUpperCase(),
    uuid.replaceAll("-", ""),
    `{${uuid}}`,
    `urn:uuid:${uuid}`,
    `${uuid}\n`,
    "",
    7,
    null,
    [uuid],
  ]) {
    assert.ok(!isUuid(other), String(other));
  }
});
