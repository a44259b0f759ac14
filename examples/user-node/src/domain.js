/** The registrations of e-mail addresses. Pure functions: no clock and no I/O (WIRE.md 10). */

import { caseFold } from "./casefold.js";
import { emailOf, hashOf, nameOf, uuidOf } from "./fields.js";

/**
 * The data of a registration.
 * @typedef {{user_id: string, email: string, name: string}} Registered
 */
/**
 * The data of an erasure.
 * @typedef {{user_id: string, address_hash: string}} Erasure
 */
/**
 * The record that answers reads. An erased one has no address and no name.
 * @typedef {Registered & {address_hash?: string, erased?: boolean}} User
 */
/**
 * The state of an address: its user and the id of the command.
 * @typedef {Registered & {command_id: string}} Registration
 */
/**
 * An input of the service.
 * @typedef {import("./events.js").Input<Registered> | import("./events.js").Input<Erasure>} Event
 */
/** @typedef {import("./processor.js").Step<Registration | null>} Step */
/** @typedef {(text: string) => string} Hash */

const ERASE = "UserEraseRequested";

/** The topics that the service consumes, each with the decoder of its data. */
export const inputs = {
  /** @param {Record<string, unknown>} data @returns {Registered} */
  UserCreateRequested: (data) => ({
    user_id: uuidOf(data, "user_id"),
    email: emailOf(data, "email"),
    name: nameOf(data, "name"),
  }),
  /** @param {Record<string, unknown>} data @returns {Erasure} */
  UserEraseRequested: (data) => ({ user_id: uuidOf(data, "user_id"), address_hash: hashOf(data, "address_hash") }),
};

/** The only valid `source` of the events of each topic: its publisher in contracts/topics.json. */
export const publishers = { UserCreateRequested: "gateway", UserEraseRequested: "gateway" };

/** The topics whose events erase the user of their `user_id`. */
export const erasures = [ERASE];

/** The topics whose events hold contact data, for the erasure of dead letters. */
export const personal = ["UserCreateRequested"];

/**
 * Returns the key of the secondary record that answers reads.
 * @param {string} userId
 */
export function userKey(userId) {
  return `user:${userId}`;
}

/**
 * Returns the functions of the service for a hash.
 * @param {Hash} hash
 */
export function domain(hash) {
  /** @param {Event} event */
  const addressHash = (event) => {
    const { data } = event;
    return "address_hash" in data ? data.address_hash : hash(caseFold(data.email));
  };
  return {
    /** The key of the primary record: requests for one address conflict. @param {Event} event */
    recordKey: (event) => `email:${addressHash(event)}`,
    /** @param {Event} event */
    secondaryKey: (event) => userKey(event.data.user_id),
    /**
     * Advances one address by one request; a repeated request gets the same output from the state.
     * @param {Registration | null} state
     * @param {User | undefined} known the secondary record
     * @param {Event} event
     * @returns {Step}
     */
    step(state, known, event) {
      const { data } = event;
      if ("address_hash" in data) return erase(state, known, data);
      return register(state, known, { data, commandId: event.correlationId, addressHash: addressHash(event) });
    },
  };
}

/**
 * @param {Registration | null} state
 * @param {User | undefined} known
 * @param {{data: Registered, commandId: string, addressHash: string}} request
 * @returns {Step}
 */
function register(state, known, { data, commandId, addressHash }) {
  const reason = rejection(state, known, { data, commandId, addressHash });
  if (reason !== undefined) return { state, secondaries: {}, outputs: [rejected(data.user_id, reason)] };
  if (state !== null) {
    const { command_id: _, ...user } = state;
    return { state, secondaries: {}, outputs: [created(user)] };
  }
  const user = { ...data, address_hash: addressHash, erased: false };
  const secondaries = known === undefined ? { [userKey(data.user_id)]: user } : {};
  return { state: { ...data, command_id: commandId }, secondaries, outputs: [created(data)] };
}

/**
 * Returns the reason for a rejection, or undefined for a new or a repeated registration.
 * @param {Registration | null} state
 * @param {User | undefined} known
 * @param {{data: Registered, commandId: string, addressHash: string}} request
 */
function rejection(state, known, { data, commandId, addressHash }) {
  if (known?.erased) return "erased";
  if (state === null) return known?.address_hash && known.address_hash !== addressHash ? "key_reused" : undefined;
  if (state.command_id === commandId) return undefined;
  return state.user_id === data.user_id ? "key_reused" : "email_taken";
}

/**
 * Erases a user, whose address may belong to another one by now.
 * @param {Registration | null} state
 * @param {User | undefined} known
 * @param {Erasure} data
 * @returns {Step}
 */
function erase(state, known, { user_id, address_hash }) {
  const kept = state?.user_id === user_id ? null : state;
  const outputs = [{ type: "UserErased", subject: user_id, data: { user_id } }];
  if (known?.erased && kept === state) return { state, secondaries: {}, outputs };
  const gone = { user_id, email: "", name: "", address_hash, erased: true };
  return { state: kept, secondaries: {}, outputs, erased: { [userKey(user_id)]: gone } };
}

/** @param {Registered} user */
function created(user) {
  return { type: "UserCreated", subject: user.user_id, data: user };
}

/** @param {string} userId @param {"key_reused" | "email_taken" | "erased"} reason */
function rejected(userId, reason) {
  return { type: "UserCreateRejected", subject: userId, data: { user_id: userId, reason } };
}
