/**
 * Processes an event: load the record, finish its outbox, step, save with an outbox, publish. The
 * process may be killed between any two lines (WIRE.md 8).
 */

import { isDeepStrictEqual } from "node:util";

import { encode, readdressed, topicsOf } from "./events.js";
import { PermanentError, TransientError } from "./errors.js";
import { Finished } from "./finished.js";
import { KeyedLocks } from "./keyed-locks.js";

/** After this many lost races on a record the event is redelivered. */
export const ROUNDS_MAX = 50;

/**
 * @template State
 * @typedef {{
 *   state: State,
 *   secondaries: Record<string, object>,
 *   outputs: import("./events.js").Output[],
 *   erased?: Record<string, object>,
 * }} Step
 */
/**
 * @typedef {{
 *   secondaries: Record<string, object>,
 *   outputs: import("./events.js").CloudEvent[],
 *   erased?: Record<string, object>,
 * }} OutboxEntry
 */
/** @typedef {{state: any, outbox: Record<string, OutboxEntry>}} Saved */
/**
 * @typedef {object} Service
 * @property {string} name the app-id
 * @property {(event: any) => string} recordKey
 * @property {(event: any) => string | undefined} [secondaryKey] of the record that the step reads
 * @property {(state: any, secondary: any, event: any) => Step<any>} step
 */

/**
 * Returns a function that handles one decoded event and throws PermanentError or TransientError.
 * @param {Service} service
 * @param {import("./sidecar.js").Sidecar} sidecar
 * @returns {(event: import("./events.js").Input<any>) => Promise<void>}
 */
export function eventProcessor(service, sidecar) {
  const finished = new Finished();
  const locks = new KeyedLocks();
  return (event) => {
    const key = service.recordKey(event);
    return locks.hold(key, () => processEvent(service, sidecar, finished, key, event));
  };
}

/**
 * @param {Service} service
 * @param {import("./sidecar.js").Sidecar} sidecar
 * @param {Finished} finished
 * @param {string} key
 * @param {import("./events.js").Input<any>} event
 */
async function processEvent(service, sidecar, finished, key, event) {
  for (let round = 0; round < ROUNDS_MAX; round += 1) {
    const { value, etag } = await sidecar.load(key);
    const record = /** @type {Saved} */ (value ?? { state: null, outbox: {} });

    // A repeated command is answered to the gateway that repeats it.
    const decided = record.outbox[event.id];
    if (decided !== undefined) decided.outputs = decided.outputs.map((each) => readdressed(each, event.replyTo));

    // Finish the outbox first, because the save below drops it.
    let publishedAgain = false;
    for (const [id, entry] of Object.entries(record.outbox)) {
      if (finished.has(key, id)) continue;
      await finish(sidecar, entry);
      finished.add(key, id);
      publishedAgain ||= id === event.id;
    }

    // The event is decided already. The broker may have lost the outputs, and only this repetition
    // can publish them again.
    if (decided !== undefined) {
      if (!publishedAgain) await publishAll(sidecar, decided.outputs);
      return;
    }

    // The secondary record is loaded after the primary one, never before.
    const secondaryKey = service.secondaryKey?.(event);
    const secondary = secondaryKey === undefined ? undefined : (await sidecar.load(secondaryKey)).value;
    const { state, secondaries, outputs, erased } = decide(service, record.state, secondary, event);
    /** @type {OutboxEntry} */
    const entry = { secondaries, outputs: encode(service.name, event, outputs) };
    if (erased !== undefined) entry.erased = erased; // saved even if the state stays
    else if (Object.keys(secondaries).length === 0 && isDeepStrictEqual(state, record.state)) {
      await publishAll(sidecar, entry.outputs);
      return;
    }

    finished.forget(key, event.id);
    if (await sidecar.save(key, { state, outbox: { [event.id]: entry } }, etag)) {
      await finish(sidecar, entry);
      finished.add(key, event.id);
      return;
    }
  }
  throw new TransientError(`lost ${ROUNDS_MAX} races for a record`);
}

/**
 * Runs the step. It is pure and fails the same way at every attempt, so a failure is permanent.
 * @param {Service} service
 * @param {any} state
 * @param {any} secondary
 * @param {import("./events.js").Input<any>} event
 */
function decide(service, state, secondary, event) {
  try {
    return service.step(state, secondary, event);
  } catch (error) {
    throw new PermanentError(`the step failed: ${error}`);
  }
}

/** @param {import("./sidecar.js").Sidecar} sidecar @param {OutboxEntry} entry */
async function finish(sidecar, entry) {
  for (const [key, secondary] of Object.entries(entry.secondaries)) await sidecar.insert(key, secondary);
  for (const [key, form] of Object.entries(entry.erased ?? {})) await sidecar.overwrite(key, form);
  await publishAll(sidecar, entry.outputs);
}

/**
 * @param {import("./sidecar.js").Sidecar} sidecar
 * @param {import("./events.js").CloudEvent[]} events
 */
async function publishAll(sidecar, events) {
  for (const event of events) for (const topic of topicsOf(event)) await sidecar.publish(event, topic);
}
