/** The event processor: what is saved and published, a death at each call, races, repeats. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { eventProcessor } from "../src/processor.js";
import { recordKey, step } from "../src/domain.js";
import { PermanentError, TransientError } from "../src/errors.js";
import { Sidecar } from "../src/sidecar.js";
import { FakeSidecar } from "./fake-sidecar.js";
import { ASKED, CREATED, example, received, wireJson } from "./story.js";

const SERVICE = { name: "user", recordKey, step };
const ADDRESS = "email:ada@example.com";
const TAKEN = example("UserCreateRequested", "email_taken");
const SAVED = unsigned(wireJson('"outbox"'));

/** A record as this service saves it: it signs no entry and leaves none to others, as WIRE.md 7 and 8 allow. @param {any} record */
function unsigned(record) {
  const outbox = Object.entries(record.outbox).map(([id, { secondaries, outputs }]) => [id, { secondaries, outputs }]);
  return { ...record, outbox: Object.fromEntries(outbox) };
}

/**
 * A process of the service: its memory is new.
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
function told(fake) {
  return fake.calls.map(({ kind, key }) => `${kind} ${key}`);
}

test("a registration takes four calls, and leaves what WIRE.md says", async (context) => {
  const fake = await FakeSidecar.start(context);
  await process(context, fake)(received(ASKED));

  assert.equal(JSON.stringify(fake.value(ADDRESS)), JSON.stringify(SAVED));
  assert.deepEqual(fake.value(`user:${ASKED.data.user_id}`), ASKED.data);
  assert.deepEqual(fake.published, [CREATED]);
  assert.deepEqual(told(fake), [
    `load ${ADDRESS}`,
    `save ${ADDRESS}`,
    `save user:${ASKED.data.user_id}`,
    "publish UserCreated",
  ]);
});

test("a repetition publishes again and saves nothing, by the outbox and by the state", async (context) => {
  const fake = await FakeSidecar.start(context);
  const processEvent = process(context, fake);
  await processEvent(received(ASKED));
  await processEvent(received(ASKED));
  assert.deepEqual(told(fake).slice(4), [`load ${ADDRESS}`, "publish UserCreated"]);

  fake.put(ADDRESS, { ...fake.value(ADDRESS), outbox: {} }); // as if other events of the address had come since
  await processEvent(received(ASKED, new Date()));

  assert.deepEqual(told(fake).slice(6), [`load ${ADDRESS}`, "publish UserCreated"]);
  assert.equal(new Set(fake.published.map((event) => event.id)).size, 1);
});

test("a refusal is published, and nothing is saved", async (context) => {
  const fake = await FakeSidecar.start(context);
  const processEvent = process(context, fake);
  await processEvent(received(ASKED));
  await processEvent(received(TAKEN, new Date("2026-01-15T09:32:00.049Z")));

  assert.deepEqual(told(fake).slice(4), [`load ${ADDRESS}`, "publish UserCreateRejected"]);
  assert.deepEqual(fake.published.at(-1), example("UserCreateRejected", "email_taken"));
});

test("another process finishes an outbox before it decides", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.put(ADDRESS, SAVED); // saved, then killed
  await process(context, fake)(received(TAKEN));

  assert.deepEqual(
    fake.published.map((event) => event.type),
    ["UserCreated", "UserCreateRejected"],
  );
  assert.deepEqual(fake.value(`user:${ASKED.data.user_id}`), ASKED.data);
});

test("its own entry is published once by the process that finds it unfinished", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.put(ADDRESS, SAVED);
  await process(context, fake)(received(ASKED));

  assert.deepEqual(fake.published, [CREATED]);
});

test("killed before or after any call, the redelivery makes the same of it", async (context) => {
  for (const when of /** @type {const} */ (["lost before", "lost after"])) {
    for (let call = 0; call < 4; call += 1) {
      const fake = await FakeSidecar.start(context);
      // Dead from this call on: whatever the process still tries is lost.
      fake.fate = (_, number) => (number < call ? undefined : number === call ? when : "lost before");
      await assert.rejects(process(context, fake)(received(ASKED)), TransientError);

      fake.fate = () => undefined;
      const before = fake.value(ADDRESS);
      await process(context, fake)(received(ASKED, new Date("2026-01-15T09:31:00.000Z")));

      const what = `${when} call ${call}`;
      assert.deepEqual(fake.value(ADDRESS).state, SAVED.state, what);
      if (before !== undefined) assert.deepEqual(fake.value(ADDRESS), before, what);
      assert.deepEqual(fake.value(`user:${ASKED.data.user_id}`), ASKED.data, what);
      assert.deepEqual([...new Set(fake.published.map((event) => event.id))], [CREATED.id], what);
    }
  }
});

test("a save that worked without saying so is found by the load that follows", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.fate = (_, number) => (number === 1 ? "lost after" : undefined);
  await process(context, fake)(received(ASKED));

  assert.deepEqual(fake.value(ADDRESS), SAVED);
  assert.deepEqual(fake.published, [CREATED]);
});

for (const fate of /** @type {const} */ (["lost before", 409, 500])) {
  test(`a save that did not work (${fate}) is decided again`, async (context) => {
    const fake = await FakeSidecar.start(context);
    fake.fate = (_, number) => (number === 1 ? fate : undefined);
    await process(context, fake)(received(ASKED));

    assert.deepEqual(fake.value(ADDRESS), SAVED);
    assert.deepEqual(fake.published, [CREATED]);
  });
}

test("who loses the race for an address is refused", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.fate = (_, number) => void (number === 1 && fake.put(ADDRESS, SAVED)); // another replica, just before our save
  await process(context, fake)(received(TAKEN));

  assert.deepEqual(fake.value(ADDRESS), SAVED);
  assert.deepEqual(
    fake.published.map((event) => event.type),
    ["UserCreated", "UserCreateRejected"],
  );
});

test("two replicas and many requests for one address: one has it", async (context) => {
  const fake = await FakeSidecar.start(context);
  const replicas = [process(context, fake), process(context, fake)];
  const ids = Array.from({ length: 20 }, (_, n) => `00000000-0000-4000-8000-${String(n).padStart(12, "0")}`);
  const requests = ids.map((id) =>
    received({ ...ASKED, id, correlationid: id, subject: id, data: { ...ASKED.data, user_id: id } }),
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
  await Promise.all([processEvent(received(ASKED)), processEvent(received(TAKEN))]);

  assert.equal(told(fake).filter((call) => call === `save ${ADDRESS}`).length, 1);
});

test("what is decided a second time is not taken for finished", async (context) => {
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
  await processEvent(received(ASKED));
  fake.put("count", { state: 1, outbox: {} }); // as if another event had come since
  fake.fate = ({ kind, key }) => (kind === "save" && key === "count:1" ? "lost before" : undefined);
  await assert.rejects(processEvent(received(ASKED)), TransientError);

  fake.fate = () => undefined;
  await processEvent(received(ASKED));
  assert.deepEqual(fake.value("count:1"), {});
  assert.equal(fake.value("count").state, 2);
});

test("a race that is lost without end is a transient error", async (context) => {
  const fake = await FakeSidecar.start(context);
  fake.fate = ({ kind }) => {
    if (kind !== "save") return undefined;
    fake.put(ADDRESS, { state: null, outbox: {} }); // another process is always faster
    return 409;
  };
  await assert.rejects(process(context, fake)(received(ASKED)), TransientError);

  assert.equal(fake.calls.length, 150); // load, save, and a look whether it was a race
  assert.deepEqual(fake.published, []);
});

test("a secondary record that is there is never changed", async (context) => {
  const fake = await FakeSidecar.start(context);
  const key = `user:${ASKED.data.user_id}`;
  fake.put(key, { ...ASKED.data, name: "older" });
  await process(context, fake)(received(ASKED));

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
  await assert.rejects(process(context, fake, broken)(received(ASKED)), (error) => error instanceof PermanentError);
});
