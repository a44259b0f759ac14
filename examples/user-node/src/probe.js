/**
 * The loopback probe: an event of this service that comes back shows that the broker works (WIRE.md
 * 13).
 */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { TransientError } from "./errors.js";

const PAUSE_MS = 1_000;

/** Publishes probe events until one of them comes back. */
export class Probe {
  /** @type {string} */
  topic;
  #name;
  #sidecar;
  #cameBack = new AbortController();

  /** @param {string} name the app-id @param {import("./sidecar.js").Sidecar} sidecar */
  constructor(name, sidecar) {
    this.topic = `Probe-${name}`;
    this.#name = name;
    this.#sidecar = sidecar;
  }

  /**
   * Publishes one event a second until one comes back or the signal aborts.
   * @param {AbortSignal} stopped
   */
  async run(stopped) {
    const over = AbortSignal.any([stopped, this.#cameBack.signal]);
    while (!over.aborted) {
      try {
        await this.#sidecar.publish(this.#event());
      } catch (error) {
        if (!(error instanceof TransientError)) throw error; // the sidecar is not up yet
      }
      await sleep(PAUSE_MS, undefined, { signal: over }).catch(() => {}); // aborted: the loop ends
    }
  }

  /** Records an event on the probe's topic; any event shows that the broker works. */
  seen() {
    this.#cameBack.abort();
  }

  /** Returns the missing conditions for readiness, one text each. */
  missing() {
    return this.#cameBack.signal.aborted ? [] : [`${this.topic} did not come back yet`];
  }

  #event() {
    const id = randomUUID();
    return {
      specversion: "1.0",
      id,
      type: this.topic,
      source: this.#name,
      subject: this.#name,
      correlationid: id,
      time: new Date().toISOString(),
      datacontenttype: "application/json",
      data: {},
    };
  }
}
