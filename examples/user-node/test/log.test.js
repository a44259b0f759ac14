/** Of repeated lines the log writes the first ones and the count of the others. */

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";

const MODULE = new URL("../src/log.js", import.meta.url).href;

/** Runs a program and returns its log lines. @param {string} body */
function written(body) {
  const program = `import { log } from ${JSON.stringify(MODULE)}; ${body}`;
  const { stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  return stderr.trimEnd().split("\n").map((line) => JSON.parse(line));
}

test("a repeated message gives ten lines and a count", () => {
  const lines = written(`for (let i = 0; i < 1000; i += 1) log("error", "no lamp", { reason: "dark", id: i });
    log("error", "no lamp", { reason: "broken" });`);

  assert.deepEqual(lines.slice(0, 10).map(({ id }) => id), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  assert.equal(lines[10].reason, "broken");
  assert.deepEqual([lines.length, lines[11].message, lines[11].repeated], [12, "no lamp", 990]);
});

test("the count is written without a further line", () => {
  const lines = written(`for (let i = 0; i < 12; i += 1) log("info", "on");
    setTimeout(() => process.stderr.write('{"message":"the end"}\\n'), 10_500);`);

  assert.deepEqual(lines.slice(-2).map(({ message, repeated }) => [message, repeated]), [["on", 2], ["the end", undefined]]);
});

test("more kinds than open windows lose no count", () => {
  const lines = written(`for (let i = 0; i < 500; i += 1) for (let n = 0; n < 11; n += 1) log("info", "kind " + i);`);

  assert.equal(lines.filter(({ repeated }) => repeated === 1).length, 500);
});
