/** The routes, called over HTTP as the sidecar calls them. */

import assert from "node:assert/strict";
import http from "node:http";
import { test } from "node:test";

import { DeadLetters } from "../src/deadletters.js";
import { eventProcessor } from "../src/processor.js";
import { erasures, inputs, personal, publishers, userKey } from "../src/domain.js";
import { Probe } from "../src/probe.js";
import { closeServer, createServer } from "../src/server.js";
import { Sidecar } from "../src/sidecar.js";
import { FakeSidecar } from "./fake-sidecar.js";
import { REQUEST, SERVICE, bytes, CREATED, example, received, wireJson } from "./story.js";

const TOKEN = "app-token";
const EVENTS = "/events/inbox/UserCreateRequested";
const WITH_TOKEN = { "dapr-api-token": TOKEN };

/**
 * Returns the delivery of a message by the sidecar.
 * @param {Buffer} message
 * @param {object} [more]
 */
function delivery(message, more = { id: "made up", type: "com.dapr.event.sent" }) {
  return Buffer.from(JSON.stringify({ data_base64: message.toString("base64"), ...more }));
}

/** @param {import("node:test").TestContext} context */
async function shop(context) {
  const fake = await FakeSidecar.start(context);
  const sidecar = new Sidecar(fake.at);
  const probe = new Probe("user", sidecar);
  const processEvent = eventProcessor(SERVICE, sidecar);
  const server = createServer({
    token: TOKEN,
    inputs,
    publishers,
    processEvent,
    erasures,
    personal,
    userKey,
    sidecar,
    deadLetters: new DeadLetters(sidecar),
    probe,
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  context.after(async () => {
    await closeServer(server, 0);
    sidecar.close();
  });
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  /** @param {string} path @param {RequestInit} [init] */
  const call = (path, init) => fetch(`http://127.0.0.1:${port}${path}`, { headers: WITH_TOKEN, ...init });
  /** @param {Buffer} body @param {string} [path] */
  const post = (body, path = EVENTS) => call(path, { method: "POST", body: new Uint8Array(body) });
  return { fake, sidecar, probe, server, port, call, post };
}

test("without the token every path except /healthz answers 403, and no body is read", async (context) => {
  const { fake, call } = await shop(context);
  for (const token of [undefined, "", "app-toke", "app-token2", "APP-TOKEN"]) {
    /** @type {Record<string, string>} */
    const headers = token === undefined ? {} : { "dapr-api-token": token };
    for (const path of ["/dapr/subscribe", "/dapr/config", "/readyz", `/user/${REQUEST.data.user_id}`, "/", "/nothing"]) {
      assert.equal((await call(path, { headers })).status, 403, path);
    }
    assert.equal((await call(EVENTS, { method: "POST", headers, body: new Uint8Array(bytes(REQUEST)) })).status, 403);
    assert.equal((await call("/healthz", { headers })).status, 200);
  }
  assert.deepEqual(fake.calls, []);
});

test("the subscriptions are those in WIRE.md, and /dapr/config is a 404", async (context) => {
  const { call } = await shop(context);
  const answer = await call("/dapr/subscribe");

  assert.equal(answer.headers.get("content-type"), "application/json");
  assert.deepEqual(await answer.json(), wireJson('"pubsubname"'));
  assert.equal((await call("/dapr/config")).status, 404);
});

test("a handled event is answered with an empty 200", async (context) => {
  const { fake, post } = await shop(context);
  const answer = await post(bytes(REQUEST));

  assert.equal(answer.status, 200);
  assert.equal(await answer.text(), "");
  assert.equal(fake.published[0].id, CREATED.id);
  assert.ok(Math.abs(Date.parse(fake.published[0].time) - Date.now()) < 60_000);
});

test("a handled replay closes its dead letter, and a replay that fails opens it again", async (context) => {
  const { fake, post } = await shop(context);
  const { replaying, time } = { replaying: { status: "replaying", event: "" }, time: "2026-01-15T09:30:00.000Z" };
  fake.put(`dead:${REQUEST.id}`, { ...replaying, time });
  assert.equal((await post(delivery(bytes({ ...REQUEST, data: { ...REQUEST.data, replay: "true" } })))).status, 200);
  assert.equal(fake.value(`dead:${REQUEST.id}`).status, "replaying");
  assert.equal((await post(delivery(bytes({ ...REQUEST, replay: "true" })))).status, 200);
  assert.equal(fake.value(`dead:${REQUEST.id}`).status, "replayed");

  fake.put(`dead:${REQUEST.id}`, { ...replaying, time });
  assert.equal((await post(delivery(bytes({ ...REQUEST, replay: "true", data: {} })))).status, 200);
  const letter = fake.value(`dead:${REQUEST.id}`);
  assert.deepEqual([letter.status, letter.first_time], [undefined, time]);
});

test("an invalid event becomes a dead letter with the caller's trace", async (context) => {
  const { fake, call } = await shop(context);
  const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  const { status } = await call(EVENTS, { method: "POST", headers: { ...WITH_TOKEN, traceparent }, body: "{" });

  assert.equal(status, 200);
  const [id] = fake.value("dead-index:0").ids;
  const { time, ...letter } = fake.value(`dead:${id}`);
  assert.deepEqual(letter, { event: "{", topic: "UserCreateRequested", reason: "not JSON", traceparent });
  assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
});

test("the attributes that the sidecar adds to a raw delivery are ignored", async (context) => {
  const { fake, post } = await shop(context);
  const answer = await post(delivery(bytes(REQUEST), { id: "another", type: "x", data: 7, traceparent: 7 }));

  assert.equal(answer.status, 200);
  assert.equal(fake.published[0].id, CREATED.id);
});

test("any invalid message is one dead letter with its bytes, however often it arrives", async (context) => {
  const { fake, post } = await shop(context);
  const messages = ["", "hello", "[]", "7", "null", '"text"', "{", '{"id":NaN}', "\u0000", "[".repeat(50_000)];
  const bodies = [...messages.map((each) => Buffer.from(each)), Buffer.from([0xff, 0x00]), Buffer.from([0xff, 0x01])];
  for (const body of [...bodies, ...bodies]) assert.equal((await post(delivery(body))).status, 200);

  const letters = fake.value("dead-index:0").ids.map((/** @type {string} */ id) => fake.value(`dead:${id}`));
  const kept = letters.map((/** @type {any} */ { event, event_base64 }) =>
    event === undefined ? Buffer.from(event_base64, "base64") : Buffer.from(event),
  );
  assert.deepEqual(kept, bodies);
  assert.deepEqual([letters[0].event_base64, letters.at(-1).event], [undefined, undefined]);
});

test("a message of 20 MiB is one dead letter with the beginning of the message", async (context) => {
  const { fake, post } = await shop(context);
  const message = Buffer.alloc(20 * 1024 * 1024, "x");
  for (let times = 0; times < 2; times += 1) assert.equal((await post(delivery(message))).status, 200);

  const [id, ...others] = fake.value("dead-index:0").ids;
  assert.deepEqual(others, []);
  assert.equal(fake.value(`dead:${id}`).event, "x".repeat(163_840));
});

test("an event of 5 MiB is read to its end and becomes a dead letter", async (context) => {
  const { fake, post } = await shop(context);
  const answer = await post(bytes({ ...REQUEST, padding: "x".repeat(5 * 1024 * 1024) }));

  assert.equal(answer.status, 200);
  assert.equal(fake.value(`dead:${REQUEST.id}`).reason, "over 1048576 bytes");
  assert.deepEqual(fake.published, []);
});

test("a transient error is answered with 500", async (context) => {
  const { fake, call, post } = await shop(context);
  for (const kind of ["load", "save", "publish"]) {
    fake.fate = (call) => (call.kind === kind ? 500 : undefined);
    const answer = await post(bytes(REQUEST));
    assert.equal(answer.status, 500, kind);
    assert.equal(await answer.text(), "");
  }
  fake.fate = () => 500;
  assert.equal((await post(Buffer.from("{"))).status, 500);
  fake.fate = () => undefined;
  assert.equal((await call("/healthz")).status, 200); // delivery resumes after a successful write
  assert.equal((await post(bytes(REQUEST))).status, 200);
});

test("an event of an unknown topic is answered with 500, so the broker keeps it", async (context) => {
  const { post } = await shop(context);

  assert.equal((await post(bytes(REQUEST), "/events/inbox/UserRenamed")).status, 500);
  assert.equal((await post(bytes(REQUEST), "/events/inbox/constructor")).status, 500);
});

test("a user is read; an unknown id or an invalid UUID is a 404 with {}", async (context) => {
  const { fake, call, post } = await shop(context);
  await post(bytes(REQUEST));
  const answer = await call(`/user/${REQUEST.data.user_id}`);

  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("content-type"), "application/json");
  assert.deepEqual(await answer.json(), REQUEST.data);
  const calls = fake.calls.length;
  for (const id of ["1", "%", "..%2f", "a%7C%7Cb", `${REQUEST.data.user_id}/more`]) {
    const missing = await call(`/user/${id}`);
    assert.equal(missing.status, 404, id);
    assert.deepEqual(await missing.json(), {});
  }
  assert.equal(fake.calls.length, calls);
  const unknown = await call("/user/00000000-0000-4000-8000-000000000000");
  assert.deepEqual([unknown.status, await unknown.json()], [404, {}]);
});

test("an erased user is a 404, and its erasure can be read", async (context) => {
  const { fake, call, post } = await shop(context);
  const erase = example("UserEraseRequested", "typical");
  await post(bytes(example("UserCreateRequested", "to_be_erased")));
  assert.equal((await call(`/export/user/${erase.data.user_id}`)).status, 200);

  assert.equal((await post(bytes(erase), "/events/inbox/UserEraseRequested")).status, 200);

  assert.equal((await call(`/user/${erase.data.user_id}`)).status, 404);
  assert.equal((await call(`/export/user/${erase.data.user_id}`)).status, 404);
  assert.deepEqual(await (await call(`/erasure/${erase.data.user_id}`)).json(), erase.data);
  assert.equal((await call(`/erasure/${REQUEST.data.user_id}`)).status, 404);
  assert.equal(fake.published.at(-1).type, "UserErased");
});

test("with an unreachable store reads and /healthz answer 503 until a write and a read succeed", async (context) => {
  const { fake, call } = await shop(context);
  const user = `/user/${REQUEST.data.user_id}`;
  assert.equal((await call("/healthz")).status, 200);
  assert.deepEqual(fake.calls, []); // no call to the store yet, so its state is not unreachable

  fake.fate = () => 500;
  assert.equal((await call(user)).status, 503);
  assert.equal((await call("/healthz")).status, 503);
  assert.equal((await call("/healthz")).status, 503);
  assert.equal(fake.calls.length, 5); // a write and a read for each

  fake.fate = () => undefined;
  assert.equal((await call("/healthz")).status, 200);
  assert.equal((await call("/healthz")).status, 200);
  assert.equal(fake.calls.length, 7); // the store works again, so the probes stop
});

test("/healthz waits 400 ms for a silent store", async (context) => {
  const { fake, sidecar, call } = await shop(context);
  sidecar.storeIsUnreachable = true;
  fake.fate = () => "silence";
  const before = performance.now();

  assert.equal((await call("/healthz")).status, 503);
  const tookMs = performance.now() - before;
  assert.ok(tookMs >= 390 && tookMs < 5_000, String(tookMs)); // not 10 s as for other calls
});

test("a conflict does not count as a store failure", async (context) => {
  const { fake, sidecar, post } = await shop(context);
  const key = SERVICE.recordKey(received(REQUEST));
  fake.fate = (call) => {
    if (call.kind !== "save") return undefined;
    fake.put(key, { state: null, outbox: {} }); // another process is always faster
    return 409;
  };
  assert.equal((await post(bytes(REQUEST))).status, 500); // fifty lost races

  assert.deepEqual([sidecar.storeIsUnreachable, sidecar.writeRefusal], [false, ""]);
});

for (const status of [409, 500]) {
  test(`a write refused with ${status} makes the app unhealthy until a write succeeds`, async (context) => {
    const { fake, call, post } = await shop(context);
    assert.equal((await call("/readyz")).status, 503); // the first write
    fake.calls.length = 0;
    fake.fate = ({ kind }) => (kind === "save" ? status : undefined);

    assert.equal((await post(bytes(REQUEST))).status, 500);
    assert.deepEqual(
      fake.calls.map(({ kind }) => kind),
      ["load", "load", "save", "load", "save", "load"],
    ); // the record and the probe, without 50 retries
    fake.calls.length = 0;
    assert.equal((await post(bytes(REQUEST))).status, 500);
    assert.equal(fake.calls.length, 0); // delivery pauses
    assert.equal((await call(`/user/${REQUEST.data.user_id}`)).status, 404); // reads continue
    assert.equal((await call("/healthz")).status, 503);
    const { missing } = /** @type {any} */ (await (await call("/readyz")).json());
    assert.ok(missing.includes(`the store refuses writes: ${status}`), missing);

    fake.fate = () => undefined;
    assert.equal((await call("/healthz")).status, 200);
    assert.equal((await post(bytes(REQUEST))).status, 200);
  });
}

test("the app is not ready while the store refuses writes from the start", async (context) => {
  const { fake, probe, call } = await shop(context);
  probe.seen();
  fake.fate = ({ kind }) => (kind === "save" ? 500 : undefined);
  assert.equal((await call("/readyz")).status, 503);

  fake.fate = () => undefined;
  assert.equal((await call("/healthz")).status, 200);
  assert.equal((await call("/readyz")).status, 200);
});

test("the app is ready once any event arrives on the probe's topic", async (context) => {
  const { fake, probe, call, post } = await shop(context);
  const first = await call("/readyz");
  assert.deepEqual([first.status, await first.json()], [503, { missing: ["Probe-user did not come back yet"] }]);

  // The sidecar is not up yet.
  fake.fate = (_, number) => (number === 0 ? "lost before" : undefined);
  const running = probe.run(new AbortController().signal);
  while (fake.published.length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const { id, time, ...event } = fake.published[0];
  assert.deepEqual(event, {
    specversion: "1.0",
    type: "Probe-user",
    source: "user",
    subject: "user",
    correlationid: id,
    datacontenttype: "application/json",
    data: {},
  });

  assert.equal((await post(Buffer.from("whatever"), "/events/inbox/Probe-user")).status, 200);
  await running;
  const second = await call("/readyz");
  assert.deepEqual([second.status, await second.json()], [200, { missing: [] }]);
});

test("the server keeps idle connections longer than the sidecar", async (context) => {
  const { server } = await shop(context);

  assert.ok(server.keepAliveTimeout > 90_000);
  assert.ok(server.headersTimeout > server.keepAliveTimeout);
  assert.ok(server.requestTimeout >= server.headersTimeout);
});

test("a 500 does not close the connection", async (context) => {
  const { fake, server, port } = await shop(context);
  let connections = 0;
  server.on("connection", () => (connections += 1));
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  context.after(() => agent.destroy());
  /** @param {Buffer} body @returns {Promise<number | undefined>} */
  const post = (body) =>
    new Promise((resolve, reject) => {
      const options = { agent, port, host: "127.0.0.1", method: "POST", path: EVENTS, headers: WITH_TOKEN };
      const request = http.request(options, (response) =>
        response.resume().on("end", () => resolve(response.statusCode)),
      );
      request.on("error", reject).end(body);
    });
  fake.fate = (_, number) => (number === 0 ? 500 : undefined);

  assert.deepEqual([await post(bytes(REQUEST)), await post(bytes(REQUEST)), await post(Buffer.from("{"))], [500, 200, 200]);
  assert.equal(connections, 1);
  assert.equal(fake.connections.size, 1);
});
