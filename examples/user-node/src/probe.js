/** The probe: the way through the broker is open when an event of our own comes back (WIRE.md 13). */

import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { TransientError } from "./errors.js";

const PAUSE_MS = 1_000;

/** Publishes events of its own until one of them comes back. */
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

  /** Publishes one each second; ends when one came back, or at the signal. @param {AbortSignal} stopped */
  async run(stopped) {
    const over = AbortSignal.any([stopped, this.#cameBack.signal]);
    while (!over.aborted) {
      try {
        await this.#sidecar.publish(this.#event());
      } catch (error) {
        if (!(error instanceof TransientError)) throw error; // the sidecar is not up yet: that is what we wait for
      }
      await sleep(PAUSE_MS, undefined, { signal: over }).catch(() => {}); // woken, since it is over
    }
  }

  /** Notes that something came in on the probe's topic; whatever it is, the way is open. */
  seen() {
    this.#cameBack.abort();
  }

  /** What is missing before the service is ready, in words. */
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
