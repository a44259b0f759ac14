/** The registrations of e-mail addresses. Pure functions: no clock and no I/O (WIRE.md 10). */

import { caseFold } from "./casefold.js";
import { emailOf, nameOf, uuidOf } from "./fields.js";

/**
 * The data of commands, events and reads.
 * @typedef {{user_id: string, email: string, name: string}} User
 */
/**
 * The state of an address: its user and the id of the command.
 * @typedef {User & {command_id: string}} Registration
 */
/** @typedef {import("./events.js").Input<User>} UserCreateRequested */
/** @typedef {import("./processor.js").Step<Registration>} Step */

/** The topics that the service consumes, each with the decoder of its data. */
export const inputs = {
  /** @param {Record<string, unknown>} data @returns {User} */
  UserCreateRequested: (data) => ({
    user_id: uuidOf(data, "user_id"),
    email: emailOf(data, "email"),
    name: nameOf(data, "name"),
  }),
};

/** The only valid `source` of the events of each topic: its publisher in contracts/topics.json. */
export const publishers = { UserCreateRequested: "gateway" };

/**
 * Returns the key of the primary record: the address, so that requests for one address conflict.
 * @param {UserCreateRequested} event
 */
export function recordKey(event) {
  return `email:${caseFold(event.data.email).replaceAll("%", "%25").replaceAll("|", "%7C")}`;
}

/**
 * Returns the key of the secondary record that answers reads.
 * @param {string} userId
 */
export function userKey(userId) {
  return `user:${userId}`;
}

/**
 * Advances one address by one request; a repeated request gets the same output from the state.
 * @param {Registration | null} state
 * @param {UserCreateRequested} event
 * @returns {Step}
 */
export function step(state, event) {
  if (state === null) {
    const user = event.data;
    const registration = { ...user, command_id: event.correlationId };
    return { state: registration, secondaries: { [userKey(user.user_id)]: user }, outputs: [created(user)] };
  }
  if (state.command_id === event.correlationId) {
    const { command_id: _, ...user } = state;
    return { state, secondaries: {}, outputs: [created(user)] };
  }
  const reason = state.user_id === event.data.user_id ? "key_reused" : "email_taken";
  return { state, secondaries: {}, outputs: [rejected(event.data.user_id, reason)] };
}

/** @param {User} user */
function created(user) {
  return { type: "UserCreated", subject: user.user_id, data: user };
}

/** @param {string} userId @param {"key_reused" | "email_taken"} reason */
function rejected(userId, reason) {
  return { type: "UserCreateRejected", subject: userId, data: { user_id: userId, reason } };
}
