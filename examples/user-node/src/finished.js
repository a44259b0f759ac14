/**
 * Remembers the outbox entries that this process has finished: all records written, all outputs
 * published.
 */

/** A forgotten entry is only finished again, so a bound is safe. This many take a few megabytes. */
export const FINISHED_MAX = 20_000;

/** A bounded set of outbox entries that drops the oldest ones. */
export class Finished {
  /** @type {Set<string>} in order of insertion */
  #entries = new Set();
  #max;

  /** @param {number} [max] */
  constructor(max = FINISHED_MAX) {
    this.#max = max;
  }

  /** @param {string} key @param {string} eventId */
  has(key, eventId) {
    return this.#entries.has(eventId + key); // ids have a fixed length, so two pairs cannot collide
  }

  /** @param {string} key @param {string} eventId */
  add(key, eventId) {
    this.#entries.add(eventId + key);
    if (this.#entries.size > this.#max) {
      const [oldest] = this.#entries;
      this.#entries.delete(oldest);
    }
  }

  /** @param {string} key @param {string} eventId */
  forget(key, eventId) {
    this.#entries.delete(eventId + key);
  }
}
