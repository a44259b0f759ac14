/** A client of the sidecar's HTTP API: first-write state and publishing (WIRE.md 4 and 6). */

import http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";

import { TransientError } from "./errors.js";

/** The timeout of a call. */
export const CALL_MS_MAX = 10_000;

/** More than the sidecar's parallel deliveries; further calls wait for a connection. */
const CONNECTIONS_MAX = 256;

/** The lost races after which an overwrite fails. */
const RACES_MAX = 50;

/** The timeout of a probe's write and of its read, so that /healthz answers within 900 ms. */
const PROBE_MS_MAX = 400;

/** The timeout after a refused write, outside of /healthz: the sidecar may retry a write itself. */
const PROBE_AFTER_REFUSAL_MS_MAX = 2_000;

/** The limit for the store's reason of a refused write. */
const REASON_BYTES_MAX = 200;

/** The interval of probes while the store is unreachable or refuses writes. */
const WATCH_MS = 2_000;

const STATE = "/v1.0/state/statestore";
const PUBLISH = "/v1.0/publish/pubsub";

/** @typedef {{status: number, headers: http.IncomingHttpHeaders, body: Buffer}} Answer */
/**
 * A value and its ETag; both are undefined if the key does not exist.
 * @typedef {{value: any, etag: string | undefined}} Loaded
 */

/** A client of one sidecar with persistent connections. */
export class Sidecar {
  /** Whether the last state call failed; this defines "the store is unreachable". */
  storeIsUnreachable = false;
  /**
   * The store's reason for refusing the last write, or empty. Only a successful write clears it.
   */
  writeRefusal = "";
  /** Whether a write has succeeded since the start. */
  isProven = false;
  /** Whether a write got no answer. A successful read does not clear it. */
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
   * Loads one key.
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
   * Writes a key if its ETag still matches, or, without an ETag, if the key does not exist.
   * @param {string} key
   * @param {object} value
   * @param {string} [etag]
   * @returns {Promise<boolean>} false: lost a race, or the result is unknown; load again
   */
  async save(key, value, etag) {
    for (let isLast = false; ; isLast = true) {
      const refusal = await this.#write([{ key, value, options: { concurrency: "first-write" }, etag }]);
      if (refusal === undefined) return true;
      if (refusal === "") return false;
      // Stores report a conflict and a refusal alike. An unchanged record means a refusal.
      if ((await this.load(key)).etag !== etag) return false;
      // The failure may be accidental: retry once if the store accepts writes.
      if (isLast || !(await this.storeAnswers(PROBE_AFTER_REFUSAL_MS_MAX)))
        throw new TransientError(`the store refused a write: ${refusal}`);
    }
  }

  /**
   * Probes the store with one write and one read (WIRE.md 2). The write has no ETag: no conflict.
   * @param {number} [timeoutMs] of each call
   */
  async storeAnswers(timeoutMs = PROBE_MS_MAX) {
    const refusal = await this.#write([{ key: "health-probe", value: 1 }], timeoutMs);
    if (refusal) this.writeRefusal = refusal;
    if (refusal !== "") await this.load("health-probe", timeoutMs).catch(() => {});
    return !this.storeIsUnreachable && this.writeRefusal === "";
  }

  /**
   * Probes a failed store until it works; until then the service accepts no event.
   * @param {AbortSignal} stopped
   */
  async watchStore(stopped) {
    while (!stopped.aborted) {
      // An abort rejects the sleep and ends the loop.
      await sleep(WATCH_MS, undefined, { signal: stopped, ref: false }).catch(() => {});
      if (this.storeIsUnreachable || this.writeRefusal) await this.storeAnswers();
    }
  }

  /** Returns the problem with the store as text; empty if none is known. */
  storeTrouble() {
    if (this.writeRefusal) return `the store refuses writes: ${this.writeRefusal}`;
    if (this.storeIsUnreachable) return "the store is unreachable";
    return this.isProven ? "" : "no write to the store worked yet";
  }

  /**
   * @param {object[]} items
   * @param {number} [timeoutMs]
   * @returns {Promise<string | undefined>} undefined: written; empty: no answer; else the answer
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
   * Writes a key if it does not exist.
   * @param {string} key
   * @param {object} value
   * @returns {Promise<boolean>} false: it exists, possibly by this insert
   */
  async insert(key, value) {
    if (await this.save(key, value)) return true;
    const { value: present } = await this.load(key);
    if (present === undefined) throw new TransientError("an insert failed");
    return false;
  }

  /**
   * Writes a final value over what is there, whatever it is.
   * @param {string} key
   * @param {object} value
   */
  async overwrite(key, value) {
    for (let lost = 0; lost < RACES_MAX; lost += 1) {
      const { value: present, etag } = await this.load(key);
      if (isDeepStrictEqual(present, value) || (await this.save(key, value, etag))) return;
    }
    throw new TransientError(`lost ${RACES_MAX} races for a record`);
  }

  /**
   * Publishes a whole event; by default its type is the topic.
   * @param {import("./events.js").CloudEvent} event
   * @param {string} [topic]
   */
  async publish(event, topic = event.type) {
    const headers = { "content-type": "application/cloudevents+json" };
    const { status } = await this.#call("POST", `${PUBLISH}/${topic}`, headers, JSON.stringify(event));
    if (status !== 200 && status !== 204) throw new TransientError(`the sidecar answered ${status} to a publish`);
  }

  /** Closes the connections. */
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
        const cause = error.name === "AbortError" ? `no answer within ${timeoutMs} ms` : error.message;
        reject(new TransientError(`${method} of the sidecar: ${cause}`));
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
  // Without the ETag the next save would be an insert, which always conflicts.
  if (typeof headers.etag !== "string") throw new TransientError("the store gave a value without its ETag");
  try {
    return { value: JSON.parse(body.toString("utf8")), etag: headers.etag };
  } catch {
    throw new TransientError("the store's value is not JSON");
  }
}
