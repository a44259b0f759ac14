/** Serializes the work on each record within this process, which avoids conflicts. */

/** One queue for each key that is in use. */
export class KeyedLocks {
  /** @type {Map<string, Promise<void>>} the end of each queue; idle keys have none */
  #ends = new Map();

  /**
   * Runs the work after all earlier work on this key has ended, with or without an error.
   * @template T
   * @param {string} key
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async hold(key, work) {
    const done = (this.#ends.get(key) ?? Promise.resolve()).then(work);
    const end = done.then(ignore, ignore); // only the caller gets the error, not the queue
    this.#ends.set(key, end);
    try {
      return await done;
    } finally {
      if (this.#ends.get(key) === end) this.#ends.delete(key);
    }
  }

  /** The number of keys in use. */
  get size() {
    return this.#ends.size;
  }
}

function ignore() {}
