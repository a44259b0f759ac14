/** Keyed hashes of addresses: HMAC-SHA-256 with a secret in the service's own store (WIRE.md 7). */

import { createHmac, randomBytes } from "node:crypto";

const KEY = "address-secret";
const SECRET_BYTES = 32;

/**
 * Returns the HMAC-SHA-256 of a text in hexadecimal digits.
 * @param {Buffer} secret
 * @param {string} text
 */
export function keyedHash(secret, text) {
  return createHmac("sha256", secret).update(text, "utf8").digest("hex");
}

/** The hash of one service, whose secret is loaded before its first event. */
export class KeyedHash {
  #sidecar;
  /** @type {Buffer | undefined} */
  #secret;

  /** @param {import("./sidecar.js").Sidecar} sidecar */
  constructor(sidecar) {
    this.#sidecar = sidecar;
  }

  /** Loads the secret once; the first process inserts it. Throws TransientError. */
  async load() {
    if (this.#secret !== undefined) return;
    let { value } = await this.#sidecar.load(KEY);
    if (value === undefined) {
      await this.#sidecar.insert(KEY, { secret: randomBytes(SECRET_BYTES).toString("hex") });
      ({ value } = await this.#sidecar.load(KEY));
    }
    this.#secret = Buffer.from(value.secret, "hex");
  }

  /** Returns the hash of a text; call `load` before. @param {string} text */
  of(text) {
    if (this.#secret === undefined) throw new Error("the secret is not loaded");
    return keyedHash(this.#secret, text);
  }
}
