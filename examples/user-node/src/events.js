/** Events: from the bytes that are delivered to what a step needs, and from its outputs to whole CloudEvents (WIRE.md 4). */

import { PermanentError } from "./errors.js";
import { isUuid, uuid5 } from "./ids.js";

/** An event, as delivered, has at most 1 MiB. */
export const EVENT_BYTES_MAX = 1024 * 1024;

// W3C Trace Context. Version 00 ends after the flags; a later version may go on, and ff is none.
const TRACEPARENT = /^(?:00(?=.{53}$)|(?!00|ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const CUT = /^\{"data_base64":"([A-Za-z0-9+/]+)$/;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * What a step gets: the data, decoded, and what the outputs will refer to.
 * @template Data
 * @typedef {object} Input
 * @property {string} id
 * @property {string} type the topic
 * @property {string} correlationId
 * @property {{traceid?: string, traceparent?: string}} trace what the outputs have to carry, to be in the same trace
 * @property {Date} at when it was received
 * @property {Data} data
 */

/** @typedef {{type: string, subject: string, data: object}} Output what a step says */
/** @typedef {Record<string, unknown> & {id: string, type: string}} CloudEvent what is published */

/**
 * The message of a delivery, byte for byte as the broker keeps it; a body without `data_base64` is the message itself.
 * @param {Buffer} body
 * @returns {Buffer}
 */
export function delivered(body) {
  try {
    const delivery = JSON.parse(UTF8.decode(body));
    if (isObject(delivery) && typeof delivery.data_base64 === "string") return Buffer.from(delivery.data_base64, "base64");
  } catch {
    const cut = CUT.exec(body.toString("latin1")); // so long that its end was not kept
    if (cut !== null && body.length > EVENT_BYTES_MAX) return Buffer.from(cut[1], "base64");
  }
  return body;
}

/**
 * Decodes an event, or throws what is wrong with it.
 * @template Data
 * @param {Buffer} body
 * @param {string} topic
 * @param {(data: Record<string, unknown>) => Data} decodeData
 * @param {Date} at
 * @returns {Input<Data>}
 */
export function decode(body, topic, decodeData, at) {
  if (body.length > EVENT_BYTES_MAX) throw new PermanentError(`over ${EVENT_BYTES_MAX} bytes`);
  const event = parse(body);
  if (!isObject(event)) throw new PermanentError("not a JSON object");
  if (event.specversion !== "1.0") throw new PermanentError("not a CloudEvent 1.0: `specversion`");
  if (!isUuid(event.id)) throw new PermanentError("`id` is not a UUID");
  if (!isUuid(event.correlationid)) throw new PermanentError("`correlationid` is not a UUID");
  if (event.type !== topic) throw new PermanentError("`type` is not the topic");
  if (!isObject(event.data)) throw new PermanentError("malformed data: not an object");
  const trace = traceOf(event.traceparent);
  return { id: event.id, type: topic, correlationId: event.correlationid, trace, at, data: decodeData(event.data) };
}

/**
 * The attributes of a sampled trace; anything else in them would end the sidecar of whoever reads the event.
 * @param {unknown} traceparent
 * @returns {{traceid?: string, traceparent?: string}}
 */
function traceOf(traceparent) {
  const found = typeof traceparent === "string" ? TRACEPARENT.exec(traceparent) : null;
  if (found === null || (parseInt(found[3], 16) & 1) === 0) return {};
  return { traceid: found[1], traceparent: `00-${found[1]}-${found[2]}-01` };
}

/**
 * Reads bytes as JSON in UTF-8, or throws what is wrong with them.
 * @param {Buffer} body
 * @returns {unknown}
 */
export function parse(body) {
  let text;
  try {
    text = UTF8.decode(body);
  } catch {
    throw new PermanentError("not UTF-8");
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new PermanentError("not JSON"); // the parser's own words would quote the body, and reasons are logged
  }
}

/**
 * Says whether a JSON value is an object.
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Makes whole events of a step's outputs; the same input and outputs make the same ids.
 * @param {string} source the app-id
 * @param {Input<unknown>} cause
 * @param {Output[]} outputs
 * @returns {CloudEvent[]}
 */
export function encode(source, cause, outputs) {
  return outputs.map(({ type, subject, data }, position) => ({
    specversion: "1.0",
    id: uuid5(cause.id, source + type + position),
    type,
    source,
    subject,
    correlationid: cause.correlationId,
    time: cause.at.toISOString(),
    datacontenttype: "application/json",
    ...cause.trace,
    data,
  }));
}
