/** The fields of an event's data, checked one by one (WIRE.md 14, common.json). */

import { PermanentError } from "./errors.js";
import { isUuid } from "./ids.js";

const CONTROLS = /[\u0000-\u001f\u007f-\u009f]/;
const LINE_BREAKS = /[\u2028\u2029]/;
/** Unicode's White_Space; not \s, which has U+FEFF too: the gateway lets a name of that pass. */
const BLANK = /\p{White_Space}/u;
const NOT_BLANK = /\P{White_Space}/u;

/** The limits of WIRE.md 14, in code points. */
export const NAME_LENGTH_MAX = 200;
export const EMAIL_LENGTH_MIN = 3;
export const EMAIL_LENGTH_MAX = 254;

/**
 * A UUID.
 * @param {Record<string, unknown>} data
 * @param {string} field
 */
export function uuidOf(data, field) {
  const value = textOf(data, field);
  if (!isUuid(value)) throw refused(field, "is not a UUID in lower case with hyphens");
  return value;
}

/**
 * A name: one line of text, not blank.
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
 * An e-mail address, as the user wrote it.
 * @param {Record<string, unknown>} data
 * @param {string} field
 */
export function emailOf(data, field) {
  const value = textOf(data, field);
  checkLength(field, value, EMAIL_LENGTH_MIN, EMAIL_LENGTH_MAX);
  if (BLANK.test(value) || CONTROLS.test(value)) throw refused(field, "has blanks or control characters");
  if (!/^[^@]+@[^@]+$/.test(value)) throw refused(field, "is not something, one @, and something");
  return value;
}

/** @param {Record<string, unknown>} data @param {string} field */
function textOf(data, field) {
  const value = data[field];
  if (value === undefined) throw refused(field, "is missing");
  if (typeof value !== "string") throw refused(field, "is not a string");
  // Half a surrogate pair (it comes in as an escape) is no text: it has no UTF-8, so it could not be saved as it is.
  if (!value.isWellFormed()) throw refused(field, "has half a surrogate pair");
  return value;
}

/** @param {string} field @param {string} value @param {number} least @param {number} most */
function checkLength(field, value, least, most) {
  let length = 0; // in code points; a string's own length counts UTF-16 units
  for (const _ of value) length += 1;
  if (length < least || length > most) throw refused(field, `has ${length} characters, not ${least} to ${most}`);
}

/** @param {string} field @param {string} why */
function refused(field, why) {
  return new PermanentError(`malformed data: \`${field}\` ${why}`);
}
