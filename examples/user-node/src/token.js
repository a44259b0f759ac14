/** The token that the sidecar shows with every call, compared in constant time (WIRE.md 2). */

import { createHash, timingSafeEqual } from "node:crypto";

/**
 * Makes the function that says whether a header holds the token; digests have one length, so nothing tells the token's.
 * @param {string} token
 * @returns {(shown: string | string[] | undefined) => boolean}
 */
export function tokenGuard(token) {
  const expected = digest(token);
  return (shown) => timingSafeEqual(expected, digest(typeof shown === "string" ? shown : ""));
}

/** @param {string} text */
function digest(text) {
  return createHash("sha256").update(text).digest();
}
