/** Access to the contract for the tests: the example events and WIRE.md. */

import { readFileSync } from "node:fs";

import { decode } from "../src/events.js";
import { domain, inputs, publishers } from "../src/domain.js";
import { keyedHash } from "../src/keyed-hash.js";

const CONTRACTS = new URL("../../../contracts/", import.meta.url);

/** Returns an example event. @param {string} topic @param {string} name */
export function example(topic, name) {
  return JSON.parse(readFileSync(new URL(`examples/${topic}/${name}.json`, CONTRACTS), "utf8"));
}

/** Returns the topic list. @returns {Record<string, {publisher: string}>} */
export function topics() {
  return JSON.parse(readFileSync(new URL("topics.json", CONTRACTS), "utf8"));
}

/** Returns the first JSON block in WIRE.md that contains a text. @param {string} text */
export function wireJson(text) {
  const blocks = readFileSync(new URL("WIRE.md", CONTRACTS), "utf8").matchAll(/^```json\n(.*?)^```$/gms);
  for (const [, block] of blocks) if (block.includes(text)) return JSON.parse(block);
  throw new Error(`WIRE.md has no JSON with ${text}`);
}

/** Returns the bytes of an event. @param {object} event */
export function bytes(event) {
  return Buffer.from(JSON.stringify(event));
}

/**
 * Returns the input of a step, received at the time of the answer in the examples.
 * @param {any} event
 * @param {Date} [at]
 */
export function received(event, at = new Date("2026-01-15T09:30:00.007Z")) {
  const topic = /** @type {keyof typeof inputs} */ (event.type);
  /** @type {(data: Record<string, unknown>) => any} */
  const decodeData = inputs[topic] ?? inputs.UserCreateRequested;
  return decode(bytes(event), topic, publishers[topic], decodeData, at);
}

/** The hash of the examples. @param {string} text */
export const HASH = (text) => keyedHash(Buffer.from("the secret of the examples"), text);
/** The functions of the service with that hash. */
export const SERVICE = { name: "user", ...domain(HASH) };

export const REQUEST = example("UserCreateRequested", "typical");
export const CREATED = example("UserCreated", "typical");
