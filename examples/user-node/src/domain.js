/** The user: who has which e-mail address. Pure: no clock, no input or output (WIRE.md 10). */

import { caseFold } from "./casefold.js";
import { emailOf, nameOf, uuidOf } from "./fields.js";

/** @typedef {{user_id: string, email: string, name: string}} User what is asked for, announced, and read */
/** @typedef {User & {command_id: string}} Registration the state of an address: who has it, by which command */
/** @typedef {import("./events.js").Input<User>} UserCreateRequested */
/** @typedef {import("./processor.js").Step<Registration>} Step */

/** The topics that the service consumes, each with what decodes the data. */
export const inputs = {
  /** @param {Record<string, unknown>} data @returns {User} */
  UserCreateRequested: (data) => ({
    user_id: uuidOf(data, "user_id"),
    email: emailOf(data, "email"),
    name: nameOf(data, "name"),
  }),
};

/**
 * The primary record is the address: two requests for one address meet there.
 * @param {UserCreateRequested} event
 */
export function recordKey(event) {
  return `email:${caseFold(event.data.email).replaceAll("%", "%25").replaceAll("|", "%7C")}`;
}

/**
 * The key under which a user is read.
 * @param {string} userId
 */
export function userKey(userId) {
  return `user:${userId}`;
}

/**
 * Advances one address by one request; a repeated one is answered from the state with the same output.
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
