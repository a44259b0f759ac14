/** Checks the token that the sidecar sends with every call, in constant time (WIRE.md 2). */

import { createHash, timingSafeEqual } from "node:crypto";

/**
 * Returns a function that checks a header's token. It compares digests, which have a fixed length,
 * so that the time does not reveal the length of the token.
 * @param {string} token
 * @returns {(received: string | string[] | undefined) => boolean}
 */
export function tokenGuard(token) {
  const expected = digest(token);
  return (received) => timingSafeEqual(expected, digest(typeof received === "string" ? received : ""));
}

/** @param {string} text */
function digest(text) {
  return createHash("sha256").update(text).digest();
}
