/**
 * Decodes delivered bytes into inputs of a step, and encodes its outputs as CloudEvents (WIRE.md
 * 4).
 */

import { PermanentError } from "./errors.js";
import { isUuid, uuid5 } from "./ids.js";

/** The maximum size of a delivered event: 1 MiB. */
export const EVENT_BYTES_MAX = 1024 * 1024;

// W3C Trace Context. Version 00 ends after the flags, later versions may be longer, ff is invalid.
const TRACEPARENT = /^(?:00(?=.{53}$)|(?!00|ff)[0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const CUT = /^\{"data_base64":"([A-Za-z0-9+/]+)$/;
const REQUESTER = /^gateway-1?[0-9]$/;
const UTF8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The input of a step: the decoded data, and the values that the outputs refer to.
 * @template Data
 * @typedef {object} Input
 * @property {string} id
 * @property {string} type The topic.
 * @property {string} correlationId
 * @property {{traceid?: string, traceparent?: string}} trace The trace of the outputs.
 * @property {string} [replyTo] The gateway that waits for the reply.
 * @property {Date} at The time of receipt.
 * @property {Data} data
 */

/** @typedef {{type: string, subject: string, data: object}} Output an output of a step */
/** @typedef {Record<string, unknown> & {id: string, type: string}} CloudEvent a published event */

/**
 * Returns the message of a delivery, byte for byte as the broker stores it. A body without
 * `data_base64` is the message itself.
 * @param {Buffer} body
 * @returns {Buffer}
 */
export function delivered(body) {
  try {
    const delivery = JSON.parse(UTF8.decode(body));
    if (isObject(delivery) && typeof delivery.data_base64 === "string") return Buffer.from(delivery.data_base64, "base64");
  } catch {
    const cut = CUT.exec(body.toString("latin1")); // truncated at the read limit
    if (cut !== null && body.length > EVENT_BYTES_MAX) return Buffer.from(cut[1], "base64");
  }
  return body;
}

/**
 * Decodes an event, or throws PermanentError with the reason.
 * @template Data
 * @param {Buffer} body
 * @param {string} topic
 * @param {string} publisher the app-id that publishes the topic
 * @param {(data: Record<string, unknown>) => Data} decodeData
 * @param {Date} at
 * @returns {Input<Data>}
 */
export function decode(body, topic, publisher, decodeData, at) {
  if (body.length > EVENT_BYTES_MAX) throw new PermanentError(`over ${EVENT_BYTES_MAX} bytes`);
  const event = parse(body);
  if (!isObject(event)) throw new PermanentError("not a JSON object");
  if (event.specversion !== "1.0") throw new PermanentError("not a CloudEvent 1.0: `specversion`");
  if (!isUuid(event.id)) throw new PermanentError("`id` is not a UUID");
  if (!isUuid(event.correlationid)) throw new PermanentError("`correlationid` is not a UUID");
  if (event.type !== topic) throw new PermanentError("`type` is not the topic");
  if (event.source !== publisher) throw new PermanentError(`\`source\` is not ${publisher}, the publisher of the topic`);
  const replyTo = requester(event.replyto);
  if (!isObject(event.data)) throw new PermanentError("malformed data: not an object");
  const trace = traceOf(event.traceparent);
  const data = decodeData(event.data);
  const input = { id: event.id, type: topic, correlationId: event.correlationid, trace, at, data };
  return replyTo === undefined ? input : { ...input, replyTo };
}

/**
 * Returns the reply address, or undefined without one; throws PermanentError for any other value.
 * @param {unknown} replyto
 * @returns {string | undefined}
 */
function requester(replyto) {
  if (replyto === undefined || replyto === "") return undefined;
  if (typeof replyto === "string" && REQUESTER.test(replyto)) return replyto;
  throw new PermanentError("the reply address is no gateway");
}

/**
 * Returns an event with the reply address of its latest requester, or without one.
 * @param {CloudEvent} event
 * @param {string | undefined} replyTo
 * @returns {CloudEvent}
 */
export function readdressed(event, replyTo) {
  const { replyto, ...rest } = event;
  return replyTo === undefined ? rest : { ...rest, replyto: replyTo };
}

/**
 * Returns the topics of an output: its type, and with a reply address that of the requester. All
 * outputs of this service are replies (contracts/topics.json).
 * @param {CloudEvent} event
 * @returns {string[]}
 */
export function topicsOf(event) {
  return event.replyto === undefined ? [event.type] : [event.type, `Replies-${event.replyto}-${event.source}`];
}

/**
 * Returns the attributes of a sampled trace. Any other value would crash the subscribers' sidecars.
 * @param {unknown} traceparent
 * @returns {{traceid?: string, traceparent?: string}}
 */
function traceOf(traceparent) {
  const found = typeof traceparent === "string" ? TRACEPARENT.exec(traceparent) : null;
  if (found === null || (parseInt(found[3], 16) & 1) === 0) return {};
  return { traceid: found[1], traceparent: `00-${found[1]}-${found[2]}-01` };
}

/**
 * Parses bytes as JSON in UTF-8, or throws PermanentError with the reason.
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
    // Reasons are logged, and the parser's message would quote the body.
    throw new PermanentError("not JSON");
  }
}

/**
 * Returns whether a JSON value is an object.
 * @param {unknown} value
 * @returns {value is Record<string, unknown>}
 */
export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * Returns the outputs of a step as CloudEvents; the same input and outputs give the same ids.
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
    ...(cause.replyTo === undefined ? {} : { replyto: cause.replyTo }),
    ...cause.trace,
    data,
  }));
}
