/** The sidecar's HTTP API: state that is written first-write only, and events (WIRE.md 4 and 6). */

import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { TransientError } from "./errors.js";

/** No call may take longer. */
export const CALL_MS_MAX = 10_000;

/** Calls beyond that wait for a connection; more than the sidecar delivers at once. */
const CONNECTIONS_MAX = 256;

/** What the write and the read of a probe may take each, so that /healthz answers within the sidecar's 900 ms. */
const PROBE_MS_MAX = 400;

/** After a refusal nothing waits for /healthz: the sidecar may try a write several times before it says no. */
const PROBE_AFTER_REFUSAL_MS_MAX = 2_000;

/** Of the store's words on why it refuses writes. */
const REASON_BYTES_MAX = 200;

/** Between two probes of a store that is unreachable or refuses writes. */
const WATCH_MS = 2_000;

const STATE = "/v1.0/state/statestore";
const PUBLISH = "/v1.0/publish/pubsub";

/** @typedef {{status: number, headers: http.IncomingHttpHeaders, body: Buffer}} Answer */
/** @typedef {{value: any, etag: string | undefined}} Loaded both undefined when the key is not there */

/** One sidecar, over connections that are kept. */
export class Sidecar {
  /** Whether the last state call failed: that is what "the store is unreachable" means. */
  storeIsUnreachable = false;
  /** Why the store refused the last write, though it reads; empty when it did not. Only a write that works clears it. */
  writeRefusal = "";
  /** Whether a write worked since the start. */
  isProven = false;
  /** A write was not answered: reads say nothing about that. */
  #writeFailed = false;
  #agent = new http.Agent({ keepAlive: true, maxSockets: CONNECTIONS_MAX });
  #target;
  #token;

  /** @param {{host: string, port: number, token: string}} at */
  constructor({ host, port, token }) {
    this.#target = { host, port };
    this.#token = token;
  }

  /**
   * Reads one key.
   * @param {string} key
   * @param {number} [timeoutMs]
   * @returns {Promise<Loaded>}
   */
  async load(key, timeoutMs = CALL_MS_MAX) {
    try {
      const loaded = found(await this.#call("GET", `${STATE}/${encodeURIComponent(key)}`, {}, "", timeoutMs));
      if (!this.#writeFailed) this.storeIsUnreachable = false;
      return loaded;
    } catch (error) {
      this.storeIsUnreachable = true;
      throw error;
    }
  }

  /**
   * Writes one key if nobody wrote it since the load that gave the ETag (without: if it is not there).
   * @param {string} key
   * @param {object} value
   * @param {string} [etag]
   * @returns {Promise<boolean>} false: another process wrote it, or it is not known whether it was saved; load again
   */
  async save(key, value, etag) {
    for (let isLast = false; ; isLast = true) {
      const refusal = await this.#write([{ key, value, options: { concurrency: "first-write" }, etag }]);
      if (refusal === undefined) return true;
      if (refusal === "") return false;
      // Stores name a lost race and a refusal alike. If the record is what it was, no race was lost.
      if ((await this.load(key)).etag !== etag) return false;
      // It may have failed by chance: if the store takes writes, once more.
      if (isLast || !(await this.storeAnswers(PROBE_AFTER_REFUSAL_MS_MAX)))
        throw new TransientError(`the store refused a write: ${refusal}`);
    }
  }

  /**
   * Tries one write and one read, as WIRE.md 2 says; the write has no ETag, so it always can be made.
   * @param {number} [timeoutMs] for each
   */
  async storeAnswers(timeoutMs = PROBE_MS_MAX) {
    const refusal = await this.#write([{ key: "health-probe", value: 1 }], timeoutMs);
    if (refusal) this.writeRefusal = refusal;
    if (refusal !== "") await this.load("health-probe", timeoutMs).catch(() => {});
    return !this.storeIsUnreachable && this.writeRefusal === "";
  }

  /** Probes a store that does not work until it does: the service takes no event meanwhile. @param {AbortSignal} stopped */
  async watchStore(stopped) {
    while (!stopped.aborted) {
      await sleep(WATCH_MS, undefined, { signal: stopped, ref: false }).catch(() => {}); // woken, since it is over
      if (this.storeIsUnreachable || this.writeRefusal) await this.storeAnswers();
    }
  }

  /** What is wrong with the store, in words; empty when nothing is known to be. */
  storeTrouble() {
    if (this.writeRefusal) return `the store refuses writes: ${this.writeRefusal}`;
    if (this.storeIsUnreachable) return "the store is unreachable";
    return this.isProven ? "" : "no write to the store worked yet";
  }

  /**
   * @param {object[]} items
   * @param {number} [timeoutMs]
   * @returns {Promise<string | undefined>} undefined: written; empty: no answer; else what the answer was
   */
  async #write(items, timeoutMs) {
    const headers = { "content-type": "application/json" };
    try {
      const { status, body } = await this.#call("POST", STATE, headers, JSON.stringify(items), timeoutMs);
      if (status !== 204) return `${status} ${body.toString("utf8", 0, REASON_BYTES_MAX)}`.trim();
      this.storeIsUnreachable = this.#writeFailed = false;
      this.writeRefusal = "";
      this.isProven = true;
      return undefined;
    } catch (error) {
      if (!(error instanceof TransientError)) throw error;
      this.storeIsUnreachable = this.#writeFailed = true;
      return "";
    }
  }

  /**
   * Writes one key if it is not there.
   * @param {string} key
   * @param {object} value
   * @returns {Promise<boolean>} false: it was there already (or this very insert worked, and did not say so)
   */
  async insert(key, value) {
    if (await this.save(key, value)) return true;
    const { value: present } = await this.load(key);
    if (present === undefined) throw new TransientError("an insert failed");
    return false;
  }

  /**
   * Publishes a whole event; its type is the topic.
   * @param {import("./events.js").CloudEvent} event
   */
  async publish(event) {
    const headers = { "content-type": "application/cloudevents+json" };
    const { status } = await this.#call("POST", `${PUBLISH}/${event.type}`, headers, JSON.stringify(event));
    if (status !== 200 && status !== 204) throw new TransientError(`the sidecar answered ${status} to a publish`);
  }

  /** Lets go of the connections. */
  close() {
    this.#agent.destroy();
  }

  /**
   * @param {string} method
   * @param {string} path
   * @param {Record<string, string>} headers
   * @param {string} body
   * @param {number} [timeoutMs]
   * @returns {Promise<Answer>}
   */
  #call(method, path, headers, body, timeoutMs = CALL_MS_MAX) {
    return new Promise((resolve, reject) => {
      /** @param {Error} error */
      const fail = (error) => {
        const why = error.name === "AbortError" ? `no answer within ${timeoutMs} ms` : error.message;
        reject(new TransientError(`${method} of the sidecar: ${why}`));
      };
      const request = http.request({
        ...this.#target,
        agent: this.#agent,
        method,
        path,
        headers: { ...headers, "content-length": Buffer.byteLength(body), "dapr-api-token": this.#token },
        signal: AbortSignal.timeout(timeoutMs),
      });
      request.on("error", fail);
      request.on("response", (response) => {
        /** @type {Buffer[]} */
        const parts = [];
        response.on("error", fail);
        response.on("data", (part) => parts.push(part));
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(parts) }),
        );
      });
      request.end(body);
    });
  }
}

/** @param {Answer} answer @returns {Loaded} */
function found({ status, headers, body }) {
  if (status === 204) return { value: undefined, etag: undefined };
  if (status !== 200) throw new TransientError(`the store answered ${status} to a read`);
  // Without its ETag the next save would be an insert, and would lose for ever.
  if (typeof headers.etag !== "string") throw new TransientError("the store gave a value without its ETag");
  try {
    return { value: JSON.parse(body.toString("utf8")), etag: headers.etag };
  } catch {
    throw new TransientError("the store's value is not JSON");
  }
}
