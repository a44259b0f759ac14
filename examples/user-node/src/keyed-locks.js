/** KeyedLocks: within this process what concerns one record waits for each other, which saves conflicts. */

/** One queue for each key that somebody works on. */
export class KeyedLocks {
  /** @type {Map<string, Promise<void>>} the end of each queue; empty when nothing is at work */
  #ends = new Map();

  /**
   * Does the work when all that came before it under this key is over, well or badly.
   * @template T
   * @param {string} key
   * @param {() => Promise<T>} work
   * @returns {Promise<T>}
   */
  async hold(key, work) {
    const done = (this.#ends.get(key) ?? Promise.resolve()).then(work);
    const end = done.then(ignore, ignore); // a failure is told to who asked for the work, not to who waits behind it
    this.#ends.set(key, end);
    try {
      return await done;
    } finally {
      if (this.#ends.get(key) === end) this.#ends.delete(key);
    }
  }

  /** How many keys somebody works on. */
  get size() {
    return this.#ends.size;
  }
}

function ignore() {}
