/** Validates the fields of an event's data (WIRE.md 14, common.json). */

import { PermanentError } from "./errors.js";
import { isUuid } from "./ids.js";

const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/;
const LINE_BREAKS = /[\u2028\u2029]/;
/** Unicode's White_Space. Not \s, which also matches U+FEFF: the gateway accepts it as a name. */
const BLANK = /\p{White_Space}/u;
const NOT_BLANK = /\P{White_Space}/u;

/** The limits of WIRE.md 14, in code points. */
export const NAME_LENGTH_MAX = 200;
export const EMAIL_LENGTH_MIN = 3;
export const EMAIL_LENGTH_MAX = 254;

/**
 * Returns a field that is a UUID, or throws PermanentError.
 * @param {Record<string, unknown>} data
 * @param {string} field
 */
export function uuidOf(data, field) {
  const value = textOf(data, field);
  if (!isUuid(value)) throw refused(field, "is not a UUID in lower case with hyphens");
  return value;
}

/**
 * Returns a field that is one line of text and not blank, or throws PermanentError.
 * @param {Record<string, unknown>} data
 * @param {string} field
 */
export function nameOf(data, field) {
  const value = textOf(data, field);
  checkLength(field, value, 1, NAME_LENGTH_MAX);
  if (CONTROLS.test(value) || LINE_BREAKS.test(value))
    throw refused(field, "is not one line without control characters");
  if (!NOT_BLANK.test(value)) throw refused(field, "is blank");
  return value;
}

/**
 * Returns a field that is an e-mail address, as the user wrote it, or throws PermanentError.
 * @param {Record<string, unknown>} data
 * @param {string} field
 */
export function emailOf(data, field) {
  const value = textOf(data, field);
  checkLength(field, value, EMAIL_LENGTH_MIN, EMAIL_LENGTH_MAX);
  if (BLANK.test(value) || CONTROLS.test(value)) throw refused(field, "has blanks or control characters");
  if (!/^[^@]+@[^@]+$/.test(value)) throw refused(field, "is not of the form local@domain");
  return value;
}

/**
 * Returns a field that is a keyed hash, or throws PermanentError.
 * @param {Record<string, unknown>} data
 * @param {string} field
 */
export function hashOf(data, field) {
  const value = textOf(data, field);
  if (!/^[0-9a-f]{64}$/.test(value)) throw refused(field, "is not a keyed hash of 64 hexadecimal digits");
  return value;
}

/** @param {Record<string, unknown>} data @param {string} field */
function textOf(data, field) {
  const value = data[field];
  if (value === undefined) throw refused(field, "is missing");
  if (typeof value !== "string") throw refused(field, "is not a string");
  // A lone surrogate arrives as an escape. It has no UTF-8 form, so the store could not save it.
  if (!value.isWellFormed()) throw refused(field, "has a lone surrogate");
  return value;
}

/** @param {string} field @param {string} value @param {number} least @param {number} most */
function checkLength(field, value, least, most) {
  let length = 0; // in code points; String.length counts UTF-16 units
  for (const _ of value) length += 1;
  if (length < least || length > most) throw refused(field, `has ${length} characters, not ${least} to ${most}`);
}

/** @param {string} field @param {string} why */
function refused(field, why) {
  return new PermanentError(`malformed data: \`${field}\` ${why}`);
}
