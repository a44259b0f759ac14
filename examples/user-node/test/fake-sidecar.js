/** An in-memory sidecar over real HTTP, with first-write state, publishing and injected faults. */

import http from "node:http";

export const SIDECAR_TOKEN = "sidecar-token";

/**
 * @typedef {{kind: "load" | "save" | "publish", key: string}} Call
 */
/**
 * The outcome: the connection breaks before or after the effect, no answer, an error status, or
 * success.
 * @typedef {"lost before" | "lost after" | "silence" | number | undefined} Fate
 */

/** A sidecar that keeps its state, the published events and the calls in memory. */
export class FakeSidecar {
  /** @type {Map<string, {value: any, etag: number}>} */
  state = new Map();
  /** @type {any[]} */
  published = [];
  /** @type {Call[]} */
  calls = [];
  /** @type {(call: Call, number: number) => Fate | Promise<Fate>} */
  fate = () => undefined;
  /** @type {Set<import("node:net").Socket>} */
  connections = new Set();
  #server = http.createServer((request, response) => this.#handle(request, response));

  /**
   * Starts a sidecar that the test stops at its end.
   * @param {import("node:test").TestContext} test
   */
  static async start(test) {
    const sidecar = new FakeSidecar();
    await sidecar.listen(0);
    test.after(() => sidecar.stop());
    return sidecar;
  }

  /** @param {number} port */
  async listen(port) {
    this.#server.on("connection", (socket) => this.connections.add(socket));
    await new Promise((resolve) => this.#server.listen(port, "127.0.0.1", () => resolve(undefined)));
    return this;
  }

  async stop() {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  get port() {
    return /** @type {import("node:net").AddressInfo} */ (this.#server.address()).port;
  }

  /** The arguments of a Sidecar for this server. */
  get at() {
    return { host: "127.0.0.1", port: this.port, token: SIDECAR_TOKEN };
  }

  /** Returns the value of a key. @param {string} key */
  value(key) {
    return this.state.get(key)?.value;
  }

  /** Writes a value, as another replica would. @param {string} key @param {any} value */
  put(key, value) {
    this.state.set(key, { value, etag: (this.state.get(key)?.etag ?? 0) + 1 });
  }

  /** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
  async #handle(request, response) {
    let body = "";
    for await (const part of request.setEncoding("utf8")) body += part;
    if (request.headers["dapr-api-token"] !== SIDECAR_TOKEN) return void response.writeHead(401).end();

    const [, , what, component, key = ""] = (request.url ?? "").split("/").map(decodeURIComponent);
    const [write] = what === "state" && request.method === "POST" ? JSON.parse(body) : [];
    /** @type {Call} */
    const call = { kind: what === "publish" ? "publish" : write ? "save" : "load", key: write?.key ?? key };
    this.calls.push(call);
    const fate = await this.fate(call, this.calls.length - 1);
    if (fate === "lost before") return void request.socket.destroy();
    if (fate === "silence") return;
    if (typeof fate === "number") return void response.writeHead(fate).end();

    const [status, headers, answer] =
      component === "pubsub" ? this.#publish(request, key, body) : write ? this.#save(write) : this.#load(key);
    if (fate === "lost after") return void request.socket.destroy();
    response.writeHead(status, headers).end(answer);
  }

  /**
   * @param {http.IncomingMessage} request
   * @param {string} topic
   * @param {string} body
   * @returns {[number, Record<string, string>, string]}
   */
  #publish(request, topic, body) {
    const event = JSON.parse(body);
    const topics = [event.type, `Replies-${event.replyto}-${event.source}`];
    if (request.headers["content-type"] !== "application/cloudevents+json" || !topics.includes(topic))
      return [400, {}, ""];
    this.published.push(event);
    return [204, {}, ""];
  }

  /**
   * @param {{key: string, value: any, etag?: string, options: {concurrency: string}}} write
   * @returns {[number, Record<string, string>, string]}
   */
  #save({ key, value, etag, options }) {
    const found = this.state.get(key);
    // Without an ETag a write never conflicts.
    if (key === "health-probe" && etag === undefined && options === undefined) return [204, {}, ""];
    if (options?.concurrency !== "first-write" || key.includes("||")) return [400, {}, ""];
    if (etag === undefined && found !== undefined) return [500, {}, "a lost insert"];
    if (etag !== undefined && etag !== String(found?.etag)) return [409, {}, ""];
    this.put(key, value);
    return [204, {}, ""];
  }

  /** @param {string} key @returns {[number, Record<string, string>, string]} */
  #load(key) {
    const found = this.state.get(key);
    if (found === undefined) return [204, {}, ""];
    return [200, { "content-type": "application/json", etag: String(found.etag) }, JSON.stringify(sorted(found.value))];
  }
}

/** Sorts keys: a real sidecar changes their order. @param {any} value @returns {any} */
function sorted(value) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, each]) => [key, sorted(each)]));
}
