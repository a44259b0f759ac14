/** What is refused, and what is not. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { inputs } from "../src/domain.js";
import { decode, encode, EVENT_BYTES_MAX } from "../src/events.js";
import { PermanentError } from "../src/errors.js";
import { ASKED, bytes, example, received } from "./story.js";

const AT = new Date();

/** @param {Buffer} body */
function decoded(body) {
  return decode(body, "UserCreateRequested", inputs.UserCreateRequested, AT);
}

/** @param {object} change @param {object} [data] */
function changed(change, data = {}) {
  return bytes({ ...ASKED, data: { ...ASKED.data, ...data }, ...change });
}

test("every example is read", () => {
  for (const name of ["typical", "edges", "email_taken", "key_reused"]) {
    const event = example("UserCreateRequested", name);
    const { id, correlationid: correlationId, type, data } = event;

    assert.deepEqual(decoded(bytes(event)), { id, type, correlationId, trace: {}, at: AT, data });
  }
});

test("what is not known is ignored, in the envelope and in the data", () => {
  const { data } = decoded(changed({ traceid: "1", tracestate: "", extra: [{}] }, { extra: null }));

  assert.deepEqual(data, ASKED.data);
});

test("what follows is in the same trace, if it is a sampled one and well-formed", () => {
  const [id, span] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  const outputs = [{ type: "UserCreated", subject: "s", data: {} }];
  /** @param {unknown} traceparent */
  const follows = (traceparent) => encode("user", decoded(changed({ traceparent })), outputs)[0];

  const { traceid, traceparent } = follows(`00-${id}-${span}-01`);
  assert.deepEqual([traceid, traceparent], [id, `00-${id}-${span}-01`]);
  assert.equal(follows(`cc-${id}-${span}-03-later`).traceparent, `00-${id}-${span}-01`);
  for (const wrong of [undefined, "", 7, {}, `ff-${id}-${span}-01`, `00-${id}-${span}-01-x`, `01-${id}-${span}-01x`, `00-${id}-${span}-00`, `00-${id}-${span}-01 `, `00-${"0".repeat(32)}-${span}-01`]) {
    assert.equal("traceid" in follows(wrong) || "traceparent" in follows(wrong), false, String(wrong));
  }
});

test("lengths are counted in code points, and the limits are allowed", () => {
  const name = "🛒".repeat(200);
  const email = `${"𐐨".repeat(252)}@x`;

  assert.deepEqual(decoded(changed({}, { name, email })).data, { ...ASKED.data, name, email });
  assert.deepEqual(decoded(changed({}, { email: "a@b", name: "X" })).data, { ...ASKED.data, email: "a@b", name: "X" });
});

test("a byte order mark is no blank, as at the gateway: a name of it is read", () => {
  assert.equal(decoded(changed({}, { name: "\ufeff" })).data.name, "\ufeff");
});

test("exactly 1 MiB is read", () => {
  const event = bytes({ ...ASKED, padding: "" });
  const full = bytes({ ...ASKED, padding: "x".repeat(EVENT_BYTES_MAX - event.length) });

  assert.equal(full.length, EVENT_BYTES_MAX);
  assert.equal(decoded(full).id, ASKED.id);
});

/** @type {[string, Buffer, RegExp][]} */
const REFUSED = [
  ["more than 1 MiB", Buffer.concat([bytes(ASKED), Buffer.alloc(EVENT_BYTES_MAX, " ")]), /over 1048576 bytes/],
  ["nothing", Buffer.alloc(0), /not JSON/],
  ["not UTF-8", Buffer.from(JSON.stringify(ASKED).replace("Ada", "\u00ff"), "latin1"), /not UTF-8/],
  [
    "a surrogate in UTF-8",
    Buffer.concat([Buffer.from('"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"')]),
    /not UTF-8/,
  ],
  ["a byte order mark", Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes(ASKED)]), /not JSON/],
  ["not JSON", Buffer.from("{"), /not JSON/],
  ["a number that JSON does not have", Buffer.from(JSON.stringify(ASKED).replace('"1.0"', "NaN")), /not JSON/],
  ["a list", Buffer.from("[]"), /not a JSON object/],
  ["null", Buffer.from("null"), /not a JSON object/],
  ["brackets without end", Buffer.alloc(EVENT_BYTES_MAX, "["), /not JSON/],
  ["another specversion", changed({ specversion: "0.3" }), /specversion/],
  ["no id", changed({ id: undefined }), /`id`/],
  ["an id in upper case", changed({ id: ASKED.id.toUpperCase() }), /`id`/],
  ["no correlationid", changed({ correlationid: undefined }), /`correlationid`/],
  ["a correlationid that is a number", changed({ correlationid: 7 }), /`correlationid`/],
  ["another type", changed({ type: "UserCreated" }), /`type`/],
  ["no data", changed({ data: undefined }), /malformed data/],
  ["data in a list", changed({ data: [ASKED.data] }), /malformed data/],
  ["no user_id", changed({}, { user_id: undefined }), /`user_id` is missing/],
  ["a user_id that is no UUID", changed({}, { user_id: "1" }), /`user_id` is not a UUID/],
  ["no email", changed({}, { email: undefined }), /`email` is missing/],
  ["an email that is null", changed({}, { email: null }), /`email` is not a string/],
  ["an email without @", changed({}, { email: "ada.example.com" }), /`email`/],
  ["an email with two @", changed({}, { email: "a@b@c" }), /`email`/],
  ["an email with nothing before the @", changed({}, { email: "@abc" }), /`email`/],
  ["an email with a blank", changed({}, { email: "a b@c" }), /`email` has blanks/],
  ["an email with a wide blank", changed({}, { email: "a\u3000b@c" }), /`email` has blanks/],
  ["an email with a control", changed({}, { email: "a\u0085b@c" }), /`email` has blanks/],
  ["an email that is too long", changed({}, { email: `${"a".repeat(253)}@b` }), /`email` has 255 characters/],
  ["an email that is too short", changed({}, { email: "a@" }), /`email` has 2 characters/],
  ["no name", changed({}, { name: undefined }), /`name` is missing/],
  ["an empty name", changed({}, { name: "" }), /`name` has 0 characters/],
  ["a blank name", changed({}, { name: " \u3000" }), /`name` is blank/],
  ["a name of two lines", changed({}, { name: "a\nb" }), /`name` is not one line/],
  ["a name with a line separator", changed({}, { name: "a\u2028b" }), /`name` is not one line/],
  ["a name that is too long", changed({}, { name: "🛒".repeat(201) }), /`name` has 201 characters/],
  ["a name with half a pair", Buffer.from(JSON.stringify(ASKED).replace("Ada", "\\ud83d")), /surrogate/],
  [
    "fields that only a prototype has",
    changed({ data: JSON.parse(`{"__proto__": ${JSON.stringify(ASKED.data)}}`) }),
    /missing/,
  ],
];
for (const [what, body, reason] of REFUSED) {
  test(`refused: ${what}`, () => {
    assert.throws(
      () => decoded(body),
      (error) => error instanceof PermanentError && reason.test(error.message),
    );
  });
}

test("the outputs of one step are counted", () => {
  const cause = { ...received(ASKED), id: "a5587059-1482-54c8-80fd-84165c5773c0" };
  const outputs = ["OrderCreated", "OrderPaymentRequested"].map((type) => ({ type, subject: ASKED.id, data: {} }));

  assert.deepEqual(
    encode("order", cause, outputs).map((event) => event.id),
    ["718eae4e-2392-5d13-a971-c8e3a261ce97", "80a18271-c019-5cae-a828-5e6684961e0c"],
  );
});

test("the time of receipt has milliseconds and ends in Z", () => {
  assert.equal(received(ASKED).at.toISOString(), "2026-01-15T09:30:00.007Z");
});
