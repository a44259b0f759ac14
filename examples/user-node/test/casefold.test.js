/**
 * Compares case folding with Python's `str.casefold` for all of Unicode, if python3 is installed.
 */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

import { caseFold } from "../src/casefold.js";

const PRINT_FOLDINGS = `
import json, unicodedata
characters = [chr(each) for each in range(0x110000) if not 0xD800 <= each < 0xE000]
known = [each for each in characters if unicodedata.category(each) != "Cn"]
print(json.dumps([[each, each.casefold()] for each in known]))
`;
const python = spawnSync("python3", ["-c", PRINT_FOLDINGS], { encoding: "utf8", maxBuffer: 64 * 1024 * 1024 });
const skip = python.status === 0 ? false : "no python3 to compare with";

test("folding differs from lower case where Unicode says so", () => {
  for (const [text, folded] of [
    ["Ada@EXAMPLE.com", "ada@example.com"],
    ["STRASSE", caseFold("straße")],
    ["ΟΔΟΣ", caseFold("οδος")], // a final sigma folds to a sigma
    ["ẞ", "ss"],
    ["ﬃ", "ffi"],
    ["İ", "i\u0307"],
    ["ı", "ı"],
    ["ꭰ", "Ꭰ"], // Cherokee folds upwards
    ["\u0345", "ι"],
    ["𐐀", "𐐨"],
    ["𝐀", "𝐀"], // mathematical letters have no case
  ]) {
    assert.equal(caseFold(text), caseFold(folded), text);
  }
  assert.equal(caseFold("ꭰ"), "Ꭰ");
  assert.equal(caseFold("ẞ"), "ss");
  assert.equal(caseFold("İ"), "i\u0307");
});

test("every code point in both Unicode versions folds as in Python", { skip }, () => {
  const pairs = /** @type {[string, string][]} */ (JSON.parse(python.stdout));
  const unassigned = /\p{Cn}/u; // for this Node
  const wrong = pairs.filter(([each, folded]) => caseFold(each) !== folded && !unassigned.test(each));

  assert.deepEqual(wrong, []);
  assert.ok(pairs.length > 200_000 && pairs.filter(([each, folded]) => each !== folded).length > 1_400);
});

test("folding ignores context and is idempotent", { skip }, () => {
  const pairs = /** @type {[string, string][]} */ (JSON.parse(python.stdout));
  const changing = pairs.filter(([each, folded]) => each !== folded && !/\p{Cn}/u.test(each));
  const all = changing.map(([each]) => each).join("");

  assert.equal(caseFold(all), changing.map(([, folded]) => folded).join(""));
  assert.equal(caseFold(caseFold(all)), caseFold(all));
});
