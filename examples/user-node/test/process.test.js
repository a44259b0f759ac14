/** Start and shutdown of the process. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import net from "node:net";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { FakeSidecar, SIDECAR_TOKEN } from "./fake-sidecar.js";
import { REQUEST, bytes, CREATED } from "./story.js";

const MAIN = fileURLToPath(new URL("../src/main.js", import.meta.url));
const TOKENS = { APP_API_TOKEN: "app-token", DAPR_API_TOKEN: SIDECAR_TOKEN };

async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = /** @type {net.AddressInfo} */ (server.address());
  server.close();
  await once(server, "close");
  return port;
}

/** @param {import("node:test").TestContext} context @param {Record<string, string>} env */
function run(context, env) {
  const child = spawn(process.execPath, ["--throw-deprecation", MAIN], {
    env: { ...env },
    stdio: ["ignore", "ignore", "pipe"],
  });
  context.after(() => child.kill("SIGKILL"));
  const exited = once(child, "exit");
  let logText = "";
  child.stderr.setEncoding("utf8").on("data", (text) => (logText += text));
  /** Waits for a text in the log. @param {string} words */
  const logged = async (words) => {
    while (!logText.includes(words))
      await Promise.race([once(child.stderr, "data"), exited.then(() => assert.fail(logText))]);
  };
  return { child, exited, logged, logText: () => logText };
}

/** @param {number} port @param {Buffer} body */
function processEvent(port, body) {
  return fetch(`http://127.0.0.1:${port}/events/inbox/UserCreateRequested`, {
    method: "POST",
    headers: { "dapr-api-token": "app-token" },
    body: new Uint8Array(body),
  });
}

test("the process names wrong and missing settings and exits", async (context) => {
  const { exited, logText } = run(context, { ...TOKENS, APP_PORT: "eighty" });
  const [code] = await exited;

  assert.equal(code, 1);
  assert.match(logText(), /APP_PORT must be a port/);
  assert.match(logText(), /DAPR_HTTP_PORT is missing/);
});

test("the process exits if its port is in use", async (context) => {
  const { port } = await FakeSidecar.start(context);
  const { exited, logText } = run(context, { ...TOKENS, APP_PORT: String(port), DAPR_HTTP_PORT: "1" });
  const [code] = await exited;

  assert.equal(code, 1);
  assert.match(logText(), /APP_PORT: cannot listen/);
});

test("the process starts without its sidecar and handles events once the sidecar is up", async (context) => {
  const [port, sidecarPort] = [await freePort(), await freePort()];
  const service = run(context, { ...TOKENS, APP_PORT: String(port), DAPR_HTTP_PORT: String(sidecarPort) });
  await service.logged("listening");
  assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
  assert.equal((await processEvent(port, bytes(REQUEST))).status, 500);

  const fake = new FakeSidecar();
  context.after(() => fake.stop());
  const probed = new Promise((resolve) => (fake.fate = ({ key }) => void (key === "Probe-user" && resolve(undefined))));
  await fake.listen(sidecarPort);
  await probed; // within a second: the service publishes one a second
  assert.equal((await processEvent(port, bytes(REQUEST))).status, 200);
  assert.ok(fake.published.some((event) => event.id === CREATED.id));
  assert.equal(service.child.exitCode, null);
});

test("the service accepts events again once the store accepts writes", async (context) => {
  const fake = await FakeSidecar.start(context);
  const port = await freePort();
  const service = run(context, { ...TOKENS, APP_PORT: String(port), DAPR_HTTP_PORT: String(fake.port) });
  await service.logged("listening");
  fake.fate = ({ kind }) => (kind === "save" ? 500 : undefined);
  assert.equal((await processEvent(port, bytes(REQUEST))).status, 500);

  const probed = new Promise((resolve) => {
    fake.fate = ({ kind, key }) => void (kind === "save" && key === "health-probe" && resolve(undefined));
  });
  await probed;
  for (;;) if ((await processEvent(port, bytes(REQUEST))).status === 200) break;
  assert.ok(fake.published.some((event) => event.id === CREATED.id));
});

test("at SIGTERM the process finishes active requests, accepts no new ones and exits with 0", async (context) => {
  const fake = await FakeSidecar.start(context);
  const port = await freePort();
  const service = run(context, { ...TOKENS, APP_PORT: String(port), DAPR_HTTP_PORT: String(fake.port) });
  await service.logged("listening");
  /** @type {(value?: undefined) => void} */
  let release = () => {};
  const held = new Promise((resolve) => (release = resolve));
  const reached = new Promise((resolve) => {
    fake.fate = async ({ kind }) => {
      if (kind !== "load") return undefined;
      resolve(undefined);
      await held;
    };
  });
  const delivery = processEvent(port, bytes(REQUEST));
  await reached;
  service.child.kill("SIGTERM");
  await refused(port);

  release();
  const answer = await delivery;
  const [code] = await service.exited;
  assert.equal(answer.status, 200);
  assert.equal(answer.headers.get("connection"), "close");
  assert.equal(code, 0);
  assert.ok(fake.published.some((event) => event.id === CREATED.id));
});

test("an idle process exits at once at SIGTERM, even with open connections", async (context) => {
  const port = await freePort();
  const service = run(context, { ...TOKENS, APP_PORT: String(port), DAPR_HTTP_PORT: String(await freePort()) });
  await service.logged("listening");
  assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200); // stays open
  service.child.kill("SIGTERM");
  const [code, signal] = await service.exited;

  assert.deepEqual([code, signal], [0, null]);
});

/** Waits until a port refuses connections. @param {number} port */
async function refused(port) {
  for (;;) {
    const socket = net.connect(port, "127.0.0.1");
    const error = await new Promise((resolve) => {
      socket.once("connect", () => resolve(undefined)).once("error", resolve);
    });
    socket.destroy();
    if (error) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
