/** The id, the contents and the index of dead letters. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { DeadLetters, letterEvent, letterId } from "../src/deadletters.js";
import { TransientError } from "../src/errors.js";
import { uuid5 } from "../src/ids.js";
import { Sidecar } from "../src/sidecar.js";
import { FakeSidecar } from "./fake-sidecar.js";
import { wireJson } from "./story.js";

const TOPIC = "UserCreateRequested";
const KIB = 1024;

/** @param {number} n */
function id(n) {
  return `11111111-1111-4111-8111-${String(n).padStart(12, "0")}`;
}

/** @param {string} eventId @returns {import("../src/deadletters.js").Refusal} */
function refusal(eventId) {
  const body = Buffer.from(`{"specversion":"1.0","id":"${eventId}"}`);
  return { body, topic: TOPIC, reason: "no data", at: new Date("2026-01-15T09:30:00Z"), traceparent: "" };
}

/** @param {import("node:test").TestContext} context @param {FakeSidecar} fake */
function deadLetters(context, fake) {
  const sidecar = new Sidecar(fake.at);
  context.after(() => sidecar.close());
  return new DeadLetters(sidecar);
}

test("a dead letter has the fields in WIRE.md", async (context) => {
  const fake = await FakeSidecar.start(context);
  const expected = wireJson('"traceparent"');
  const eventId = JSON.parse(expected.event).id;
  await deadLetters(context, fake).write({ ...refusal(eventId), reason: expected.reason });

  assert.deepEqual(fake.value(`dead:${eventId}`), expected);
  assert.deepEqual(fake.value("dead-index:0"), { ids: [eventId] });
});

test("the id of an event without a UUID derives from its topic and bytes", () => {
  for (const text of ["{", "[]", "7", '{"id":7}', '{"id":"1"}', `{"id":"{${id(1)}}"}`, `{"id":"${id(1)}"`]) {
    const expected = uuid5("5f0c6f8e-62a4-5a36-9c6b-6f1f3d0a2f11", TOPIC + Buffer.from(text).toString("base64"));
    assert.equal(letterId(Buffer.from(text), TOPIC), expected);
  }
  assert.equal(letterId(Buffer.from(`{"id":"${id(1)}"}`), TOPIC), id(1));
  const hex = "abcdefab-1111-4111-8111-111111111111";
  for (const form of [hex, hex.toUpperCase(), hex.replaceAll("-", "")]) {
    // Not UTF-8, but with a UUID.
    assert.equal(letterId(Buffer.from(`{"id":"${form}","x":"\u00ff"}`, "latin1"), TOPIC), hex);
  }
  assert.equal(letterId(Buffer.from("{"), TOPIC), "082dbe21-e35c-56c7-8100-2c3ad4cf6fbe");
});

test("a body that is not UTF-8 is stored in base64, and a long body is truncated", () => {
  /** @param {Buffer} body */
  const text = (body) => /** @type {{event: string}} */ (letterEvent(body)).event;
  assert.deepEqual(letterEvent(Buffer.from([0x61, 0xff, 0x62])), { event_base64: "Yf9i" });
  assert.deepEqual(letterEvent(Buffer.alloc(720 * KIB + 1, 0xff)), { event_base64: "/".repeat(960 * KIB) });
  assert.equal(text(Buffer.from("\ufeffa")), "\ufeffa");
  assert.equal(text(Buffer.alloc(960 * KIB - 2, "a")).length, 960 * KIB - 2);
  assert.equal(text(Buffer.alloc(960 * KIB - 1, "a")).length, 163_840);
  assert.equal(text(Buffer.alloc(200 * KIB, 1)).length, 163_840); // six bytes each, as JSON
  assert.equal([...text(Buffer.from("🛒".repeat(256 * KIB)))].length, 163_840);
});

test("a reason is truncated to 1,000 characters", async (context) => {
  const fake = await FakeSidecar.start(context);
  await deadLetters(context, fake).write({ ...refusal(id(1)), reason: "🛒".repeat(1_001) });

  assert.equal(fake.value(`dead:${id(1)}`).reason, "🛒".repeat(1_000));
});

test("a page lists 100 ids and the next page lists the rest", async (context) => {
  const fake = await FakeSidecar.start(context);
  const letters = deadLetters(context, fake);
  for (let n = 0; n < 205; n += 1) await letters.write(refusal(id(n)));

  assert.deepEqual(
    [0, 1, 2].flatMap((page) => fake.value(`dead-index:${page}`).ids),
    Array.from({ length: 205 }, (_, n) => id(n)),
  );
  assert.deepEqual(
    [0, 1, 2, 3].map((page) => fake.value(`dead-index:${page}`)?.ids.length),
    [100, 100, 5, undefined],
  );
  fake.calls.length = 0;
  await letters.write(refusal(id(300)));
  assert.deepEqual(
    fake.calls.map(({ kind, key }) => `${kind} ${key}`),
    [`save dead:${id(300)}`, "load dead-index:2", "save dead-index:2"],
  );
});

test("a repeated event is stored and listed once, on any page", async (context) => {
  const fake = await FakeSidecar.start(context);
  const letters = deadLetters(context, fake);
  for (let n = 0; n < 101; n += 1) await letters.write(refusal(id(n)));
  for (const again of [letters, deadLetters(context, fake)]) {
    for (const n of [0, 99, 100]) await again.write({ ...refusal(id(n)), reason: "another" });
  }

  assert.deepEqual(fake.value("dead-index:1"), { ids: [id(100)] });
  assert.equal(fake.value(`dead:${id(0)}`).reason, "no data");
});

test("after a crash at any call the redelivery lists the event once", async (context) => {
  for (const when of /** @type {const} */ (["lost before", "lost after"])) {
    for (let call = 0; call < 3; call += 1) {
      const fake = await FakeSidecar.start(context);
      fake.fate = (_, number) => (number < call ? undefined : number === call ? when : "lost before");
      await assert.rejects(deadLetters(context, fake).write(refusal(id(1))), TransientError);

      fake.fate = () => undefined;
      await deadLetters(context, fake).write(refusal(id(1)));
      assert.deepEqual(fake.value("dead-index:0"), { ids: [id(1)] }, `${when} call ${call}`);
      assert.equal(fake.value(`dead:${id(1)}`).topic, TOPIC);
    }
  }
});

test("parallel writes by two replicas list each event once", async (context) => {
  const fake = await FakeSidecar.start(context);
  const replicas = [deadLetters(context, fake), deadLetters(context, fake)];
  const ids = Array.from({ length: 30 }, (_, n) => id(n));
  await Promise.all(ids.map((each, n) => replicas[n % 2].write(refusal(each))));

  assert.deepEqual(fake.value("dead-index:0").ids.toSorted(), ids.toSorted());
});

test("a replayed letter is open again when its event fails again", async (context) => {
  const fake = await FakeSidecar.start(context);
  const letters = deadLetters(context, fake);
  await letters.write(refusal(id(1)));
  const key = `dead:${id(1)}`;
  const sidecar = new Sidecar(fake.at);
  context.after(() => sidecar.close());
  for (const status of ["replaying", "replayed", "discarded"]) {
    const { etag } = await sidecar.load(key);
    await sidecar.save(key, { ...fake.value(key), status, traceparent: "kept" }, etag);

    await letters.write({ ...refusal(id(1)), reason: `again after ${status}` });

    assert.equal(fake.value(key).status, undefined);
    assert.equal(fake.value(key).reason, `again after ${status}`);
    assert.equal(fake.value(key).traceparent, "kept");
  }
  assert.deepEqual(fake.value("dead-index:0"), { ids: [id(1)] });
});

test("an erasure empties the letters that name the user, and they stay erased", async (context) => {
  const fake = await FakeSidecar.start(context);
  const letters = deadLetters(context, fake);
  const named = Buffer.from(`{"id":"${id(1)}","data":{"user_id":"${id(9)}","email":"a@b.c"}}`);
  await letters.write({ ...refusal(id(1)), body: named, reason: "no: a@b.c" });
  const another = named.toString().replace(id(1), id(2)).replace(id(9), id(8)).replace("a@b.c", "x@y.z");
  await letters.write({ ...refusal(id(2)), body: Buffer.from(another) });
  await letters.write({ ...refusal(id(3)), body: Buffer.concat([Buffer.from([0xff]), named]) });

  await letters.erase(id(9), [TOPIC]);
  await letters.write({ ...refusal(id(1)), body: named });

  const stored = JSON.stringify([...fake.state.values()]);
  assert.ok(!stored.includes("a@b.c"), stored);
  assert.deepEqual([fake.value(`dead:${id(1)}`).status, fake.value(`dead:${id(1)}`).reason], ["erased", "no"]);
  assert.equal(fake.value(`dead:${id(2)}`).status, undefined);
  assert.equal(stored.match(/"status":"erased"/g)?.length, 2);
});

test("an erasure finds the user in any spelling, and empties what names no user", async (context) => {
  const user = "0000000a-0000-4000-8000-00000000000b";
  const escaped = [...user].map((each) => `\\u${each.charCodeAt(0).toString(16).padStart(4, "0")}`).join("");
  const data = [user.toUpperCase(), escaped, "", "no UUID"].map((each) => `{"user_id":"${each}","email":"a@b.c"}`);
  const bodies = [...data, '{"email":"a@b.c"}', '{"email":"a@b.c"'].map((each, n) => `{"id":"${id(n)}","data":${each}}`);
  const fake = await FakeSidecar.start(context);
  const letters = deadLetters(context, fake);
  for (const body of bodies) await letters.write({ ...refusal(id(1)), body: Buffer.from(body) });

  await letters.erase(user, [TOPIC]);

  const stored = JSON.stringify([...fake.state.values()]);
  assert.ok(!stored.includes("a@b.c"), stored);
  assert.equal(stored.match(/"status":"erased"/g)?.length, bodies.length);
});

test("an erasure empties the discarded letters of other topics that name the user", async (context) => {
  const fake = await FakeSidecar.start(context);
  const letters = deadLetters(context, fake);
  await letters.write(refusal(id(1)));
  const sidecar = new Sidecar(fake.at);
  context.after(() => sidecar.close());
  const { value, etag } = await sidecar.load(`dead:${id(1)}`);
  await sidecar.save(`dead:${id(1)}`, { ...value, status: "discarded" }, etag);

  await letters.erase(id(1), ["UserErased"]);

  assert.equal(fake.value(`dead:${id(1)}`).status, "erased");
});

test("an erasure leaves the letters of other topics", async (context) => {
  const fake = await FakeSidecar.start(context);
  const letters = deadLetters(context, fake);
  await letters.write(refusal(id(1)));

  await letters.erase(id(1), ["UserErased"]);

  assert.equal(fake.value(`dead:${id(1)}`).status, undefined);
});
