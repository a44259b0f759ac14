/** The routes that the sidecar calls (WIRE.md 2, 9, 12, 13). */

import http from "node:http";

import { isReplay } from "./deadletters.js";
import { decode, delivered, EVENT_BYTES_MAX } from "./events.js";
import { PermanentError, TransientError } from "./errors.js";
import { isUuid } from "./ids.js";
import { log } from "./log.js";
import { tokenGuard } from "./token.js";

/**
 * Idle connections stay open for longer than the sidecar's 90 s. A call on a closing connection
 * would be lost.
 */
const KEEP_ALIVE_MS = 120_000;
/** Longer than KEEP_ALIVE_MS, because a shorter timeout would close idle connections. */
const HEADERS_MS_MAX = 130_000;
/**
 * The bytes of a body, in base64, that are read into memory. It exceeds the event's limit, because
 * the id of a dead letter depends on the whole message.
 */
const BODY_BYTES_KEPT = 24 * EVENT_BYTES_MAX;

const COMPONENT = "inbox";

/**
 * @typedef {object} App
 * @property {string} token
 * @property {Record<string, (data: Record<string, unknown>) => any>} inputs by topic
 * @property {Record<string, string>} publishers by topic
 * @property {(event: import("./events.js").Input<any>) => Promise<void>} processEvent
 * @property {string[]} erasures the topics whose events erase the user of their `user_id`
 * @property {string[]} personal the topics whose dead letters are then erased
 * @property {(id: string) => string} userKey
 * @property {import("./sidecar.js").Sidecar} sidecar
 * @property {import("./deadletters.js").DeadLetters} deadLetters
 * @property {import("./probe.js").Probe} probe
 */
/** @typedef {{status: number, body?: unknown}} Answer */

/**
 * Returns the server, which does not listen yet.
 * @param {App} app
 */
export function createServer(app) {
  const isAuthorized = tokenGuard(app.token);
  const limits = { keepAliveTimeout: KEEP_ALIVE_MS, headersTimeout: HEADERS_MS_MAX };
  const server = http.createServer(limits, async (request, response) => {
    const path = (request.url ?? "").split("?", 1)[0];
    // Only authorized handlers read the body; Node discards any other body.
    if (path === "/healthz") send(server, response, await health(app));
    else if (!isAuthorized(request.headers["dapr-api-token"])) send(server, response, { status: 403 });
    else send(server, response, await answer(app, request, path));
  });
  return server;
}

/**
 * Stops accepting calls and waits up to `graceMs` for the active ones.
 * @param {http.Server} server
 * @param {number} graceMs
 */
export async function closeServer(server, graceMs) {
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  await new Promise((resolve) => {
    server.close(resolve); // closes idle connections; active ones get `connection: close`
  });
  clearTimeout(cut);
}

/**
 * @param {App} app
 * @param {http.IncomingMessage} request
 * @param {string} path
 * @returns {Promise<Answer>}
 */
async function answer(app, request, path) {
  const [, place, name = "", topic = "", ...rest] = path.split("/");
  try {
    if (request.method === "POST" && place === "events" && name === COMPONENT && rest.length === 0) {
      if (topic === app.probe.topic) return probed(app);
      if (Object.hasOwn(app.inputs, topic)) return await consume(app, request, topic);
    }
    // The topic belongs to another version of this service. A 404 would lose the event; after a 500
    // the broker keeps it for a replica that knows the topic.
    if (place === "events") return { status: 500 };
    if (request.method === "GET" && path === "/dapr/subscribe") return { status: 200, body: subscriptions(app) };
    if (request.method === "GET" && path === "/readyz") return await readiness(app);
    if (request.method === "GET" && path === `/user/${name}`) return await read(app, name, userOf);
    if (request.method === "GET" && path === `/erasure/${name}`) return await read(app, name, erasureOf);
    if (request.method === "GET" && path === `/export/user/${topic}`) return await read(app, topic, userOf);
    return { status: 404, body: {} };
  } catch (error) {
    log("error", "a call failed", {
      path: path.slice(0, 100),
      error: String(/** @type {Error} */ (error)?.stack ?? error),
    });
    return { status: 500 };
  }
}

/** @param {App} app @returns {Promise<Answer>} */
async function health(app) {
  const isUnhealthy = app.sidecar.storeIsUnreachable || app.sidecar.writeRefusal !== "";
  return { status: isUnhealthy && !(await app.sidecar.storeAnswers()) ? 503 : 200 };
}

/** @param {App} app */
function subscriptions(app) {
  return [...Object.keys(app.inputs), app.probe.topic].map((topic) => ({
    pubsubname: COMPONENT,
    topic,
    route: `/events/${COMPONENT}/${topic}`,
    metadata: { rawPayload: "true" },
  }));
}

/** @param {App} app @returns {Promise<Answer>} */
async function readiness(app) {
  // The gateway polls this until it is 200, so at the start it makes the first write. Later only
  // /healthz probes the store, and this reports the result.
  if (!app.sidecar.isProven) await app.sidecar.storeAnswers();
  const trouble = app.sidecar.storeTrouble();
  const missing = [...app.probe.missing(), ...(trouble ? [trouble] : [])];
  return { status: missing.length === 0 ? 200 : 503, body: { missing } };
}

/** @param {App} app @returns {Answer} */
function probed(app) {
  app.probe.seen();
  return { status: 200 };
}

/** @param {any} user */
const userOf = ({ user_id, email, name, erased }) => (erased ? undefined : { user_id, email, name });

/** @param {any} user */
const erasureOf = ({ user_id, address_hash = "" }) => ({ user_id, address_hash });

/**
 * @param {App} app
 * @param {string} id
 * @param {(user: any) => object | undefined} view
 * @returns {Promise<Answer>}
 */
async function read(app, id, view) {
  try {
    const { value } = isUuid(id) ? await app.sidecar.load(app.userKey(id)) : { value: undefined };
    const body = value === undefined ? undefined : view(value);
    return body === undefined ? { status: 404, body: {} } : { status: 200, body };
  } catch (error) {
    if (error instanceof TransientError) return { status: 503, body: {} };
    throw error;
  }
}

/**
 * Handles one delivery; the kind of a failure decides the response.
 * @param {App} app
 * @param {http.IncomingMessage} request
 * @param {string} topic
 * @returns {Promise<Answer>}
 */
async function consume(app, request, topic) {
  const body = delivered(await readBody(request));
  const at = new Date();
  try {
    // The sidecar retries every second until a write succeeds (WIRE.md 2).
    if (app.sidecar.writeRefusal) throw new TransientError(app.sidecar.storeTrouble());
    try {
      const event = decode(body, topic, app.publishers[topic], app.inputs[topic], at);
      await app.processEvent(event);
      if (app.erasures.includes(topic)) await app.deadLetters.erase(event.data.user_id, app.personal);
      if (isReplay(body)) await app.deadLetters.settle(body, topic);
    } catch (error) {
      if (!(error instanceof PermanentError)) throw error;
      const traceparent = String(request.headers.traceparent ?? "");
      const id = await app.deadLetters.write({ body, topic, reason: error.message, at, traceparent });
      log("warning", "an event became a dead letter", { topic, id, reason: error.message });
    }
    return { status: 200 };
  } catch (error) {
    if (!(error instanceof TransientError)) throw error;
    log("warning", "an event needs a redelivery", { topic, error: error.message });
    return { status: 500 };
  }
}

/**
 * Reads a body to its end and returns its first BODY_BYTES_KEPT bytes.
 * @param {http.IncomingMessage} request
 */
async function readBody(request) {
  /** @type {Buffer[]} */
  const parts = [];
  let length = 0;
  for await (const part of request) {
    if (length < BODY_BYTES_KEPT) parts.push(part);
    length += part.length;
  }
  return Buffer.concat(parts).subarray(0, BODY_BYTES_KEPT); // the same bytes for any chunking
}

/**
 * @param {http.Server} server
 * @param {http.ServerResponse} response
 * @param {Answer} answer
 */
function send(server, response, { status, body }) {
  const text = body === undefined ? "" : JSON.stringify(body);
  response.writeHead(status, {
    "content-length": Buffer.byteLength(text),
    ...(body === undefined ? {} : { "content-type": "application/json" }),
    ...(!server.listening ? { connection: "close" } : {}),
  });
  response.end(text);
}
