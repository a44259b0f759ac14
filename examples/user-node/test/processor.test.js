/**
 * The event processor: saved records, published events, crashes at each call, races, repetitions.
 */

import assert from "node:assert/strict";
import { test } from "node:test";

import { eventProcessor } from "../src/processor.js";
import { PermanentError, TransientError } from "../src/errors.js";
import { Sidecar } from "../src/sidecar.js";
import { FakeSidecar } from "./fake-sidecar.js";
import { REQUEST, CREATED, HASH, SERVICE, example, received, wireJson } from "./story.js";

const ADDRESS_HASH = HASH("ada@example.com");
const ADDRESS = `email:${ADDRESS_HASH}`;
const USER = `user:${REQUEST.data.user_id}`;
const READ = { ...REQUEST.data, address_hash: ADDRESS_HASH, erased: false };
const TAKEN = example("UserCreateRequested", "email_taken");
const SAVED = unsigned(wireJson('"outbox"'));

/**
 * Returns a record without writer names in its outbox, as this service saves it. WIRE.md 7 and 8
 * allow this.
 * @param {any} record
 */
function unsigned(record) {
  const outbox = Object.entries(record.outbox).map(([id, { secondaries, outputs }]) => [id, { secondaries, outputs }]);
  return { ...record, outbox: Object.fromEntries(outbox) };
}

/**
 * Returns a new event processor, as a new process of the service has it.
 * @param {import("node:test").TestContext} context
 * @param {FakeSidecar} fake
 * @param {import("../src/processor.js").Service} [service]
 */
function process(context, fake, service = SERVICE) {
  const sidecar = new Sidecar(fake.at);
  context.after(() => sidecar.close());
  return eventProcessor(service, sidecar);
}

/** @param {FakeSidecar} fake */
function callNames(fake) {
  return fake.calls.map(({ kind, key }) => `${kind} ${key}`);
}

test("a registration makes five calls and saves the record in WIRE.md", async (context) => {
  const fake = await FakeSidecar.start(context);
  await process(context, fake)(received(REQUEST));

  assert.equal(JSON.stringify(fake.value(ADDRESS)), JSON.stringify(SAVED));
  assert.deepEqual(fake.value(USER), READ);
  assert.deepEqual(fake.published, [CREATED]);
  assert.deepEqual(callNames(fake), [
    `load ${ADDRESS}`,
    `load ${USER}`,
    `save ${ADDRESS}`,
    `save ${USER}`,
    "publish UserCreated",
  ]);
});

test("a repetition publishes again from the outbox or the state and saves nothing", async (context) => {
  const fake = await FakeSidecar.start(context);
  const processEvent = process(context, fake);
  await processEvent(received(REQUEST));
  await processEvent(received(REQUEST));
  assert.deepEqual(callNames(fake).slice(5), [`load ${ADDRESS}`, "publish UserCreated"]);

  // As if other events of the address had arrived in between.
  fake.put(ADDRESS, { ...fake.value(ADDRESS), outbox: {} });
  await processEvent(received(REQUEST, new Date()));

  assert.deepEqual(callNames(fake).slice(7), [`load ${ADDRESS}`, `load ${USER}`, "publish UserCreated"]);
  assert.equal(new Set(fake.published.map((event) => event.id)).size, 1);
});

test("a rejection is published and saves nothing", async (context) => {
  const fake = await FakeSidecar.start(context);
  const processEvent = process(context, fake);
  await processEvent(received(REQUEST));
  const rejected = example("UserCreateRejected", "email_taken");
  await processEvent(received(TAKEN, new Date(rejected.time)));

  assert.deepEqual(callNames(fake).slice(5), [
    `load ${ADDRESS}`,
    `load user:${TAKEN.data.user_id}`,
    "publish UserCreateRejected",
  ]);
  assert.deepEqual(fake.published.at(-1), rejected);
});

test("another process finishes an outbox before it decides", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.put(ADDRESS, SAVED); // a process died after the save
  await process(context, fake)(received(TAKEN));

  assert.deepEqual(
    fake.published.map((event) => event.type),
    ["UserCreated", "UserCreateRejected"],
  );
  assert.deepEqual(fake.value(USER), READ);
});

test("a redelivery publishes its own unfinished entry once", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.put(ADDRESS, SAVED);
  await process(context, fake)(received(REQUEST));

  assert.deepEqual(fake.published, [CREATED]);
});

test("after a crash at any call the redelivery gives the same result", async (context) => {
  for (const when of /** @type {const} */ (["lost before", "lost after"])) {
    for (let call = 0; call < 5; call += 1) {
      const fake = await FakeSidecar.start(context);
      // The process is dead from this call on, so all later calls are lost.
      fake.fate = (_, number) => (number < call ? undefined : number === call ? when : "lost before");
      await assert.rejects(process(context, fake)(received(REQUEST)), TransientError);

      fake.fate = () => undefined;
      const before = fake.value(ADDRESS);
      await process(context, fake)(received(REQUEST, new Date("2026-01-15T09:31:00.000Z")));

      const label = `${when} call ${call}`;
      assert.deepEqual(fake.value(ADDRESS).state, SAVED.state, label);
      if (before !== undefined) assert.deepEqual(fake.value(ADDRESS), before, label);
      assert.deepEqual(fake.value(USER), READ, label);
      assert.deepEqual([...new Set(fake.published.map((event) => event.id))], [CREATED.id], label);
    }
  }
});

test("a save that succeeded without an answer is found by the next load", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.fate = (_, number) => (number === 2 ? "lost after" : undefined);
  await process(context, fake)(received(REQUEST));

  assert.deepEqual(fake.value(ADDRESS), SAVED);
  assert.deepEqual(fake.published, [CREATED]);
});

for (const fate of /** @type {const} */ (["lost before", 409, 500])) {
  test(`after a failed save (${fate}) the event is decided again`, async (context) => {
    const fake = await FakeSidecar.start(context);
    fake.fate = (_, number) => (number === 2 ? fate : undefined);
    await process(context, fake)(received(REQUEST));

    assert.deepEqual(fake.value(ADDRESS), SAVED);
    assert.deepEqual(fake.published, [CREATED]);
  });
}

test("the loser of a race for an address is rejected", async (context) => {
  const fake = await FakeSidecar.start(context);
  // Another replica saves just before this one.
  fake.fate = (_, number) => void (number === 2 && fake.put(ADDRESS, SAVED));
  await process(context, fake)(received(TAKEN));

  assert.deepEqual(fake.value(ADDRESS), SAVED);
  assert.deepEqual(
    fake.published.map((event) => event.type),
    ["UserCreated", "UserCreateRejected"],
  );
});

test("one of many requests at two replicas gets the address", async (context) => {
  const fake = await FakeSidecar.start(context);
  const replicas = [process(context, fake), process(context, fake)];
  const ids = Array.from({ length: 20 }, (_, n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`);
  const requests = ids.map((id) =>
    received({ ...REQUEST, id, correlationid: id, subject: id, data: { ...REQUEST.data, user_id: id } }),
  );
  await Promise.all(requests.map((request, n) => replicas[n % 2](request)));

  const created = fake.published.filter((event) => event.type === "UserCreated");
  const rejected = fake.published.filter((event) => event.type === "UserCreateRejected");
  assert.equal(new Set(created.map((event) => event.id)).size, 1);
  assert.equal(created[0].subject, fake.value(ADDRESS).state.user_id);
  assert.deepEqual(new Set([...created, ...rejected].map((event) => event.correlationid)), new Set(ids));
});

test("within a process the requests for one address do not race", async (context) => {
  const fake = await FakeSidecar.start(context);
  const processEvent = process(context, fake);
  await Promise.all([processEvent(received(REQUEST)), processEvent(received(TAKEN))]);

  assert.equal(callNames(fake).filter((call) => call === `save ${ADDRESS}`).length, 1);
});

test("an event that is decided twice is not treated as finished", async (context) => {
  const fake = await FakeSidecar.start(context);
  const counting = {
    name: "user",
    recordKey: () => "count",
    step: (/** @type {number | null} */ state) => ({
      state: (state ?? 0) + 1,
      secondaries: { [`count:${state ?? 0}`]: {} },
      outputs: [],
    }),
  };
  const processEvent = process(context, fake, counting);
  await processEvent(received(REQUEST));
  fake.put("count", { state: 1, outbox: {} }); // as if another event had arrived in between
  fake.fate = ({ kind, key }) => (kind === "save" && key === "count:1" ? "lost before" : undefined);
  await assert.rejects(processEvent(received(REQUEST)), TransientError);

  fake.fate = () => undefined;
  await processEvent(received(REQUEST));
  assert.deepEqual(fake.value("count:1"), {});
  assert.equal(fake.value("count").state, 2);
});

test("losing every race is a transient error", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.fate = ({ kind }) => {
    if (kind !== "save") return undefined;
    fake.put(ADDRESS, { state: null, outbox: {} }); // another process is always faster
    return 409;
  };
  await assert.rejects(process(context, fake)(received(REQUEST)), TransientError);

  assert.equal(fake.calls.length, 200); // two loads, save, and a load that tells a race from a refusal
  assert.deepEqual(fake.published, []);
});

test("an existing secondary record never changes", async (context) => {
  const fake = await FakeSidecar.start(context);
  const key = `user:${REQUEST.data.user_id}`;
  fake.put(key, { ...REQUEST.data, name: "older" });
  await process(context, fake)(received(REQUEST));

  assert.equal(fake.value(key).name, "older");
  assert.deepEqual(fake.published, [CREATED]);
});

test("a step that throws is a permanent error", async (context) => {
  const fake = await FakeSidecar.start(context);
  const broken = {
    ...SERVICE,
    step() {
      throw new TypeError("a bug");
    },
  };
  await assert.rejects(process(context, fake, broken)(received(REQUEST)), (error) => error instanceof PermanentError);
});

test("a reply with an address is copied to its requester, and a repetition to the latest one", async (context) => {
  const fake = await FakeSidecar.start(context);
  const processEvent = process(context, fake);
  await processEvent({ ...received(REQUEST), replyTo: "gateway-3" });
  await processEvent({ ...received(REQUEST), replyTo: "gateway-4" });
  await processEvent(received(REQUEST));

  const published = callNames(fake).filter((name) => name.startsWith("publish"));
  assert.deepEqual(published, [
    "publish UserCreated",
    "publish Replies-gateway-3-user",
    "publish UserCreated",
    "publish Replies-gateway-4-user",
    "publish UserCreated",
  ]);
  const addresses = fake.published.map((event) => event.replyto);
  assert.deepEqual(addresses, ["gateway-3", "gateway-3", "gateway-4", "gateway-4", undefined]);
  assert.equal(new Set(fake.published.map((event) => event.id)).size, 1);
});

test("an erasure overwrites the record of the user and drops the outbox", async (context) => {
  const fake = await FakeSidecar.start(context);
  const registering = received(example("UserCreateRequested", "to_be_erased"));
  const erasing = received(example("UserEraseRequested", "typical"));
  await process(context, fake)(registering);
  // The process dies at the overwrite, and the next one finds the rest in the outbox.
  fake.fate = ({ kind, key }) => (kind === "save" && key.startsWith("user:") ? "lost before" : undefined);
  await assert.rejects(process(context, fake)(erasing), TransientError);
  fake.fate = () => undefined;
  await process(context, fake)(erasing);
  await process(context, fake)(registering);

  const stored = JSON.stringify([...fake.state.values()]);
  assert.ok(!stored.includes("grace@example.com"), stored);
  assert.deepEqual(fake.value(`user:${erasing.data.user_id}`).erased, true);
  assert.equal(fake.published.at(-1).type, "UserCreateRejected");
});

test("an erasure that overtakes the registration is saved", async (context) => {
  const fake = await FakeSidecar.start(context);
  const processEvent = process(context, fake);
  await processEvent(received(example("UserEraseRequested", "typical")));
  await processEvent(received(example("UserCreateRequested", "to_be_erased")));

  assert.deepEqual(
    fake.published.map((event) => event.type),
    ["UserErased", "UserCreateRejected"],
  );
});
