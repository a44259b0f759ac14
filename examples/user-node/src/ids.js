/** Checks UUIDs and derives UUIDs from names (WIRE.md 5). */

import { createHash } from "node:crypto";

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const BARE = /^[0-9a-f]{32}$/;

/**
 * Returns whether a value is a UUID in canonical form: lower case, with hyphens.
 * @param {unknown} value
 * @returns {value is string}
 */
export function isUuid(value) {
  return typeof value === "string" && UUID.test(value);
}

/**
 * Returns the canonical form of a UUID in upper case or without hyphens, else undefined.
 * @param {unknown} value
 */
export function asUuid(value) {
  if (typeof value !== "string") return undefined;
  const lower = value.toLowerCase();
  const written = BARE.test(lower) ? hyphened(lower) : lower;
  return isUuid(written) ? written : undefined;
}

/**
 * Derives a UUID, version 5, from a name (RFC 9562). The same name gives the same id.
 * @param {string} namespace a UUID
 * @param {string} name
 */
export function uuid5(namespace, name) {
  const bytes = createHash("sha1")
    .update(Buffer.from(namespace.replaceAll("-", ""), "hex"))
    .update(name, "utf8")
    .digest();
  bytes[6] = (bytes[6] & 0x0f) | 0x50; // version 5
  bytes[8] = (bytes[8] & 0x3f) | 0x80; // the RFC's variant
  return hyphened(bytes.toString("hex", 0, 16));
}

/** @param {string} hex 32 digits */
function hyphened(hex) {
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join("-");
}
