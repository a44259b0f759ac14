/** The state in memory: the locks and the set of finished entries. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Finished } from "../src/finished.js";
import { KeyedLocks } from "../src/keyed-locks.js";

/** Returns a promise and the function that resolves it. */
function gate() {
  /** @type {(value?: unknown) => void} */
  let open = () => {};
  const opened = new Promise((resolve) => (open = resolve));
  return { opened, open };
}

test("work on one key runs in order, and another key does not wait", async () => {
  const locks = new KeyedLocks();
  const first = gate();
  /** @type {string[]} */
  const seen = [];

  const a1 = locks.hold("a", async () => {
    await first.opened;
    seen.push("a1");
  });
  const a2 = locks.hold("a", async () => void seen.push("a2"));
  await locks.hold("b", async () => void seen.push("b"));
  first.open();
  await Promise.all([a1, a2]);

  assert.deepEqual(seen, ["b", "a1", "a2"]);
  assert.equal(locks.size, 0);
});

test("a failure reaches its caller and does not stop the queue", async () => {
  const locks = new KeyedLocks();
  const failed = locks.hold("a", () => Promise.reject(new Error("no")));
  const next = locks.hold("a", async () => "done");

  await assert.rejects(failed, /no/);
  assert.equal(await next, "done");
  assert.equal(locks.size, 0);
});

test("a full set drops the oldest entry", () => {
  const finished = new Finished(2);
  for (const id of ["1", "2", "3"]) finished.add("key", id);
  finished.forget("key", "3");

  assert.deepEqual(
    ["1", "2", "3"].map((id) => finished.has("key", id)),
    [false, true, false],
  );
  assert.ok(!finished.has("other", "2"));
});
