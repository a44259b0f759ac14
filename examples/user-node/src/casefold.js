/**
 * Unicode full case folding, which JavaScript lacks. Services compare e-mail addresses with it
 * (WIRE.md 7).
 */

/*
 * For nearly every code point the folding is the lower case of the upper case of the lower case.
 * The standard has the same two exceptions: dotless i does not change, and Cherokee folds to its
 * upper case, which is older in Unicode. The code folds each code point separately, because
 * toLowerCase depends on the context (final sigma) and folding does not.
 * test/casefold.test.js compares all of Unicode with Python's implementation.
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
 * Returns the folded text. Two texts that differ only in case have the same folded text.
 * @param {string} text
 */
export function caseFold(text) {
  return Array.from(text, foldOne).join("");
}
