/** Unicode full case folding, which JavaScript lacks: how e-mail addresses are compared (WIRE.md 7). */

/*
 * Folding is, for nearly every code point, the lower case of the upper case of the lower case. The two exceptions are
 * exceptions of the standard too: dotless i stays what it is, and Cherokee folds to its upper case, which is the older.
 * It goes code point by code point, since toLowerCase looks around (the final sigma) and folding does not.
 * test/casefold.test.js compares all of Unicode with another implementation.
 */
const DOTLESS_I = "\u0131";
const CHEROKEE = /\p{Script=Cherokee}/u;

/** @param {string} character one code point */
function foldOne(character) {
  if (character === DOTLESS_I) return character;
  const upper = character.toLowerCase().toUpperCase();
  if (CHEROKEE.test(character)) return upper;
  return upper.toLowerCase();
}

/**
 * Folds a text, so that two texts that differ only in case become equal.
 * @param {string} text
 */
export function caseFold(text) {
  return Array.from(text, foldOne).join("");
}
