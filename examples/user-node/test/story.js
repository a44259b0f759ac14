/** The shop's contract, as the tests use it: the examples, and WIRE.md. */

import { readFileSync } from "node:fs";

import { decode } from "../src/events.js";
import { inputs } from "../src/domain.js";

const CONTRACTS = new URL("../../../contracts/", import.meta.url);

/** An event of the examples. @param {string} topic @param {string} name */
export function example(topic, name) {
  return JSON.parse(readFileSync(new URL(`examples/${topic}/${name}.json`, CONTRACTS), "utf8"));
}

/** The first code block of WIRE.md that holds a text, parsed. @param {string} text */
export function wireJson(text) {
  const blocks = readFileSync(new URL("WIRE.md", CONTRACTS), "utf8").matchAll(/^```json\n(.*?)^```$/gms);
  for (const [, block] of blocks) if (block.includes(text)) return JSON.parse(block);
  throw new Error(`WIRE.md has no JSON with ${text}`);
}

/** The bytes of an event. @param {object} event */
export function bytes(event) {
  return Buffer.from(JSON.stringify(event));
}

/** An event as a step gets it, received at the time of its answer in the examples. @param {any} event @param {Date} [at] */
export function received(event, at = new Date("2026-01-15T09:30:00.007Z")) {
  return decode(bytes(event), "UserCreateRequested", inputs.UserCreateRequested, at);
}

export const ASKED = example("UserCreateRequested", "typical");
export const CREATED = example("UserCreated", "typical");
