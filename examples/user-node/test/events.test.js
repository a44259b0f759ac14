/** Decoding of valid and invalid events. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { inputs, publishers } from "../src/domain.js";
import { decode, encode, EVENT_BYTES_MAX } from "../src/events.js";
import { PermanentError } from "../src/errors.js";
import { REQUEST, bytes, example, received, topics } from "./story.js";

const AT = new Date();

/** @param {Buffer} body */
function decoded(body) {
  return decode(body, "UserCreateRequested", publishers.UserCreateRequested, inputs.UserCreateRequested, AT);
}

/** @param {object} change @param {object} [data] */
function changed(change, data = {}) {
  return bytes({ ...REQUEST, data: { ...REQUEST.data, ...data }, ...change });
}

test("every example is decoded", () => {
  for (const name of ["typical", "edges", "email_taken", "key_reused"]) {
    const event = example("UserCreateRequested", name);
    const { id, correlationid: correlationId, type, data } = event;

    assert.deepEqual(decoded(bytes(event)), { id, type, correlationId, trace: {}, at: AT, data });
  }
});

test("unknown fields of the envelope and the data are ignored", () => {
  const { data } = decoded(changed({ traceid: "1", tracestate: "", extra: [{}] }, { extra: null }));

  assert.deepEqual(data, REQUEST.data);
});

test("outputs continue a trace that is sampled and well-formed", () => {
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

test("lengths count code points, and the limits are inclusive", () => {
  const name = "🛒".repeat(200);
  const email = `${"𐐨".repeat(252)}@x`;

  assert.deepEqual(decoded(changed({}, { name, email })).data, { ...REQUEST.data, name, email });
  assert.deepEqual(decoded(changed({}, { email: "a@b", name: "X" })).data, { ...REQUEST.data, email: "a@b", name: "X" });
});

test("a byte order mark is not whitespace, as at the gateway, so it is a valid name", () => {
  assert.equal(decoded(changed({}, { name: "\ufeff" })).data.name, "\ufeff");
});

test("the publishers are those of the topic list", () => {
  for (const [topic, publisher] of Object.entries(publishers)) assert.equal(topics()[topic].publisher, publisher);
  assert.deepEqual(Object.keys(publishers), Object.keys(inputs));
});

test("an event of exactly 1 MiB is decoded", () => {
  const event = bytes({ ...REQUEST, padding: "" });
  const full = bytes({ ...REQUEST, padding: "x".repeat(EVENT_BYTES_MAX - event.length) });

  assert.equal(full.length, EVENT_BYTES_MAX);
  assert.equal(decoded(full).id, REQUEST.id);
});

/** @type {[string, Buffer, RegExp][]} */
const REFUSED = [
  ["more than 1 MiB", Buffer.concat([bytes(REQUEST), Buffer.alloc(EVENT_BYTES_MAX, " ")]), /over 1048576 bytes/],
  ["an empty body", Buffer.alloc(0), /not JSON/],
  ["not UTF-8", Buffer.from(JSON.stringify(REQUEST).replace("Ada", "\u00ff"), "latin1"), /not UTF-8/],
  [
    "a surrogate in UTF-8",
    Buffer.concat([Buffer.from('"'), Buffer.from([0xed, 0xa0, 0x80]), Buffer.from('"')]),
    /not UTF-8/,
  ],
  ["a byte order mark", Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), bytes(REQUEST)]), /not JSON/],
  ["not JSON", Buffer.from("{"), /not JSON/],
  ["a number outside JSON", Buffer.from(JSON.stringify(REQUEST).replace('"1.0"', "NaN")), /not JSON/],
  ["a list", Buffer.from("[]"), /not a JSON object/],
  ["null", Buffer.from("null"), /not a JSON object/],
  ["unclosed brackets", Buffer.alloc(EVENT_BYTES_MAX, "["), /not JSON/],
  ["another specversion", changed({ specversion: "0.3" }), /specversion/],
  ["no id", changed({ id: undefined }), /`id`/],
  ["an id in upper case", changed({ id: REQUEST.id.toUpperCase() }), /`id`/],
  ["no correlationid", changed({ correlationid: undefined }), /`correlationid`/],
  ["a correlationid that is a number", changed({ correlationid: 7 }), /`correlationid`/],
  ["another type", changed({ type: "UserCreated" }), /`type`/],
  ["no source", changed({ source: undefined }), /`source` is not gateway/],
  ["another source", changed({ source: "user" }), /`source` is not gateway/],
  ["a source that is a list", changed({ source: ["gateway"] }), /`source` is not gateway/],
  ["no data", changed({ data: undefined }), /malformed data/],
  ["data in a list", changed({ data: [REQUEST.data] }), /malformed data/],
  ["no user_id", changed({}, { user_id: undefined }), /`user_id` is missing/],
  ["a user_id that is no UUID", changed({}, { user_id: "1" }), /`user_id` is not a UUID/],
  ["no email", changed({}, { email: undefined }), /`email` is missing/],
  ["an email that is null", changed({}, { email: null }), /`email` is not a string/],
  ["an email without @", changed({}, { email: "ada.example.com" }), /`email`/],
  ["an email with two @", changed({}, { email: "a@b@c" }), /`email`/],
  ["an email with nothing before the @", changed({}, { email: "@abc" }), /`email`/],
  ["an email with a blank", changed({}, { email: "a b@c" }), /`email` has blanks/],
  ["an email with a wide blank", changed({}, { email: "a\u3000b@c" }), /`email` has blanks/],
  ["an email with a control character", changed({}, { email: "a\u0085b@c" }), /`email` has blanks/],
  ["an email that is too long", changed({}, { email: `${"a".repeat(253)}@b` }), /`email` has 255 characters/],
  ["an email that is too short", changed({}, { email: "a@" }), /`email` has 2 characters/],
  ["no name", changed({}, { name: undefined }), /`name` is missing/],
  ["an empty name", changed({}, { name: "" }), /`name` has 0 characters/],
  ["a blank name", changed({}, { name: " \u3000" }), /`name` is blank/],
  ["a name of two lines", changed({}, { name: "a\nb" }), /`name` is not one line/],
  ["a name with a line separator", changed({}, { name: "a\u2028b" }), /`name` is not one line/],
  ["a name that is too long", changed({}, { name: "🛒".repeat(201) }), /`name` has 201 characters/],
  ["a name with a lone surrogate", Buffer.from(JSON.stringify(REQUEST).replace("Ada", "\\ud83d")), /surrogate/],
  [
    "fields on the prototype only",
    changed({ data: JSON.parse(`{"__proto__": ${JSON.stringify(REQUEST.data)}}`) }),
    /missing/,
  ],
];
for (const [name, body, reason] of REFUSED) {
  test(`refused: ${name}`, () => {
    assert.throws(
      () => decoded(body),
      (error) => error instanceof PermanentError && reason.test(error.message),
    );
  });
}

test("the position of an output is part of its id", () => {
  const cause = { ...received(REQUEST), id: "a5587059-1482-54c8-80fd-84165c5773c0" };
  const outputs = ["OrderCreated", "OrderPaymentRequested"].map((type) => ({ type, subject: REQUEST.id, data: {} }));

  assert.deepEqual(
    encode("order", cause, outputs).map((event) => event.id),
    ["718eae4e-2392-5d13-a971-c8e3a261ce97", "80a18271-c019-5cae-a828-5e6684961e0c"],
  );
});

test("a time has milliseconds and ends with Z", () => {
  assert.equal(received(REQUEST).at.toISOString(), "2026-01-15T09:30:00.007Z");
});

test("a reply address is the name of a gateway", () => {
  assert.equal(decoded(changed({ replyto: "gateway-19" })).replyTo, "gateway-19");
  for (const none of [undefined, ""]) assert.equal("replyTo" in decoded(changed({ replyto: none })), false);
  for (const wrong of ["gateway-20", "gateway-01", "gateway", "user-0", 7, null, ["gateway-0"], "gateway-0\n"]) {
    assert.throws(() => decoded(changed({ replyto: wrong })), PermanentError, String(wrong));
  }
});
