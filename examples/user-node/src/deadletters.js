/**
 * Stores dead letters, the events that failed permanently, and an index of their ids (WIRE.md 9).
 */

import { isObject } from "./events.js";
import { TransientError } from "./errors.js";
import { asUuid, uuid5 } from "./ids.js";

const NAMESPACE = "5f0c6f8e-62a4-5a36-9c6b-6f1f3d0a2f11";
const TEXT_BYTES_MAX = 960 * 1024; // of the JSON string; the record stays below 1 MiB
const TEXT_LENGTH_CUT = 163_840; // code points; with six bytes each the text stays below the limit
const RAW_BYTES_CUT = 720 * 1024; // of a body that is stored in base64
const REASON_LENGTH_MAX = 1_000;
const PAGE_LENGTH_MAX = 100;
const ROUNDS_MAX = 50;
const ERASED = "erased";
const REPLAYING = "replaying";
const REPLAYED = "replayed";
const SETTLED = [REPLAYED, "discarded"];

const LENIENT = new TextDecoder("utf-8", { ignoreBOM: true });
const STRICT = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/**
 * @typedef {object} Refusal
 * @property {Buffer} body
 * @property {string} topic
 * @property {string} reason
 * @property {Date} at
 * @property {string} traceparent the request's header, or empty
 */

/** The dead letters of one service. */
export class DeadLetters {
  #sidecar;
  /** The number of leading index pages that are known to be full. */
  #fullPages = 0;

  /** @param {import("./sidecar.js").Sidecar} sidecar */
  constructor(sidecar) {
    this.#sidecar = sidecar;
  }

  /**
   * Stores an event once and lists it once. Throws TransientError if the store fails.
   * @param {Refusal} refusal
   * @returns {Promise<string>} the letter's id
   */
  async write({ body, topic, reason, at, traceparent }) {
    const id = letterId(body, topic);
    const fullBefore = this.#fullPages;
    const letter = {
      ...letterEvent(body),
      topic,
      reason: firstCodePoints(reason, REASON_LENGTH_MAX),
      time: at.toISOString(),
      traceparent,
    };
    const isNew = await this.#sidecar.insert(`dead:${id}`, letter);
    if (!isNew) await this.#reopen(`dead:${id}`, letter);
    // A new id cannot be on a page that was full before; an old one may be on any page.
    await this.#list(id, isNew ? fullBefore : 0);
    return id;
  }

  /**
   * Reopens a replayed or discarded letter whose event failed again. Leaves any other unchanged.
   * @param {string} key
   * @param {Record<string, string>} letter
   */
  async #reopen(key, letter) {
    for (let lost = 0; lost < ROUNDS_MAX; lost += 1) {
      const { value, etag } = await this.#sidecar.load(key);
      if (value && ["open", ERASED].includes(value.status ?? "open")) return;
      const reopened = {
        ...letter,
        first_time: value?.first_time ?? value?.time ?? letter.time,
        traceparent: letter.traceparent || (value?.traceparent ?? ""),
      };
      if (await this.#sidecar.save(key, reopened, etag)) return;
    }
    throw new TransientError(`lost ${ROUNDS_MAX} races for a dead letter`);
  }

  /**
   * Marks the letter of a replayed event as replayed, unless it is open. Throws TransientError.
   * @param {Buffer} body
   * @param {string} topic
   */
  async settle(body, topic) {
    const key = `dead:${letterId(body, topic)}`;
    for (let lost = 0; lost < ROUNDS_MAX; lost += 1) {
      const { value, etag } = await this.#sidecar.load(key);
      if (value?.status !== REPLAYING) return;
      const settled = { ...value, status: REPLAYED, status_time: new Date().toISOString() };
      if (await this.#sidecar.save(key, settled, etag)) return;
    }
    throw new TransientError(`lost ${ROUNDS_MAX} races for a dead letter`);
  }

  /**
   * Erases the events that may be about a user; the letters stay. Throws TransientError.
   * Events of `personal` topics are erased unless they name another user. Of other topics, those
   * that name the user and are replayed or discarded are erased.
   * @param {string} userId
   * @param {string[]} personal
   */
  async erase(userId, personal) {
    for (let page = 0; ; page += 1) {
      const { value } = await this.#sidecar.load(`dead-index:${page}`);
      if (value === undefined) return;
      for (const id of value.ids) await this.#erase(`dead:${id}`, userId, personal);
    }
  }

  /** @param {string} key @param {string} userId @param {string[]} personal */
  async #erase(key, userId, personal) {
    for (let lost = 0; lost < ROUNDS_MAX; lost += 1) {
      const { value, etag } = await this.#sidecar.load(key);
      if (value === undefined || value.status === ERASED) return;
      const event = value.event ?? Buffer.from(value.event_base64 ?? "", "base64").toString("latin1");
      const stays = personal.includes(value.topic)
        ? isOfAnother(event, userId)
        : !SETTLED.includes(value.status) || !names(event, userId);
      if (stays) return;
      const { event_base64: _, ...kept } = value;
      // The part after the first colon may quote the event.
      const reason = value.reason.split(": ", 1)[0];
      const erased = { ...kept, event: "", reason, status: ERASED, status_time: new Date().toISOString() };
      if (await this.#sidecar.save(key, erased, etag)) return;
    }
    throw new TransientError(`lost ${ROUNDS_MAX} races for a dead letter`);
  }

  /** @param {string} id @param {number} page the first page that can contain the id */
  async #list(id, page) {
    for (let lost = 0; lost < ROUNDS_MAX;) {
      const key = `dead-index:${page}`;
      const { value, etag } = await this.#sidecar.load(key);
      /** @type {string[]} */
      const ids = value?.ids ?? [];
      if (ids.includes(id)) return;
      if (ids.length >= PAGE_LENGTH_MAX) {
        page += 1;
        this.#fullPages = Math.max(this.#fullPages, page);
      } else if (await this.#sidecar.save(key, { ids: [...ids, id] }, etag)) {
        return;
      } else {
        lost += 1;
      }
    }
    throw new TransientError(`lost ${ROUNDS_MAX} races for the index of dead letters`);
  }
}

/**
 * Returns the event's own id if it is a UUID, else an id derived from the topic and the bytes.
 * @param {Buffer} body
 * @param {string} topic
 */
export function letterId(body, topic) {
  return ownId(body) ?? uuid5(NAMESPACE, topic + body.toString("base64"));
}

/** @param {Buffer} body */
function ownId(body) {
  try {
    const event = JSON.parse(LENIENT.decode(body));
    return isObject(event) ? asUuid(event.id) : undefined;
  } catch {
    return undefined; // not JSON
  }
}

/**
 * Returns whether an event is the replay of a dead letter.
 * @param {Buffer} body
 */
export function isReplay(body) {
  if (!body.includes('"replay"')) return false;
  const event = JSON.parse(STRICT.decode(body));
  return typeof event.replay === "string" && event.replay !== "";
}

/**
 * Returns the body as text, or in base64 if it is not UTF-8, truncated to the store's limit.
 * @param {Buffer} body
 * @returns {{event: string} | {event_base64: string}}
 */
export function letterEvent(body) {
  let text;
  try {
    text = STRICT.decode(body);
  } catch {
    return { event_base64: body.toString("base64", 0, RAW_BYTES_CUT) };
  }
  const fits = Buffer.byteLength(JSON.stringify(text)) <= TEXT_BYTES_MAX;
  return { event: fits ? text : firstCodePoints(text, TEXT_LENGTH_CUT) };
}

/**
 * Returns whether an event is complete and names another user, and not this one.
 * @param {string} event
 * @param {string} userId
 */
function isOfAnother(event, userId) {
  try {
    return asUuid(JSON.parse(event).data.user_id) !== undefined && !names(event, userId);
  } catch {
    return false; // no complete event
  }
}

/**
 * Returns whether an event has an id in any spelling: any case, JSON escapes, without hyphens.
 * @param {string} event
 * @param {string} userId
 */
function names(event, userId) {
  return plain(event).includes(plain(userId));
}

/** @param {string} text */
function plain(text) {
  const unescaped = text.replace(/\\+u([0-9a-fA-F]{4})/g, (_, digits) => String.fromCharCode(parseInt(digits, 16)));
  return unescaped.replaceAll(/[\0-]/g, "").toLowerCase();
}

/** @param {string} text @param {number} count */
function firstCodePoints(text, count) {
  let units = 0;
  let left = count;
  for (const character of text) {
    if (left === 0) return text.slice(0, units);
    units += character.length;
    left -= 1;
  }
  return text;
}
