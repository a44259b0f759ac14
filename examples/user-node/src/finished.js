/** What this process remembers as finished: outbox entries whose secondary records are written and whose outputs are published. */

/** Forgetting costs one more repetition, so a bound is safe; this many are some megabytes. */
export const FINISHED_MAX = 20_000;

/** A bounded set of outbox entries; the oldest are forgotten. */
export class Finished {
  /** @type {Set<string>} in the order in which they were added */
  #entries = new Set();
  #most;

  /** @param {number} [most] */
  constructor(most = FINISHED_MAX) {
    this.#most = most;
  }

  /** @param {string} key @param {string} eventId */
  has(key, eventId) {
    return this.#entries.has(eventId + key); // an event's id has one length: no two pairs meet
  }

  /** @param {string} key @param {string} eventId */
  add(key, eventId) {
    this.#entries.add(eventId + key);
    if (this.#entries.size > this.#most) {
      const [oldest] = this.#entries;
      this.#entries.delete(oldest);
    }
  }

  /** @param {string} key @param {string} eventId */
  forget(key, eventId) {
    this.#entries.delete(eventId + key);
  }
}
