// Show the documented events of the gateway's AsyncAPI document.

import { find, make, nothing, table } from "./dom.js";
import { get } from "./gateway.js";

/** Fetch the document and show it. */
export async function init() {
  const document_ = await get("/api/asyncapi.json");
  find("events", ".list").replaceChildren(
    ...(document_ ? events(document_) : [nothing("The gateway returned no document. Reload the page when it is ready.")]),
  );
}

function events(document_) {
  find("events", ".count").textContent = `(${Object.keys(document_.channels).length})`;
  return Object.keys(document_.channels).map((topic) => event(document_, topic));
}

function event(document_, topic) {
  const message = document_.components.messages[topic];
  const operations = Object.values(document_.operations).filter((each) => last(each.channel.$ref) === topic);
  const example = message.examples?.[0];
  const data = document_.components.schemas[topic].properties.data;
  return make(
    "details",
    { id: `event-${topic}` },
    make("summary", {}, make("strong", {}, topic), make("span", { class: "second" }, `${way(operations)} · ${message.summary}`)),
    ...replies(operations),
    table(`Fields of ${topic}`, ["Field", "Type", "Description"], fields(document_, data), "wide"),
    ...(example ? [make("h4", {}, `Example: ${example.name}`), make("pre", { tabindex: 0 }, JSON.stringify(example.payload, null, 2))] : []),
  );
}

/** The publishers and consumers of an event. */
function way(operations) {
  const who = (action) => [...new Set(operations.filter((each) => each.action === action).map((each) => each.tags[0].name))];
  return `${who("send").join(", ")} → ${who("receive").join(", ") || "no consumer"}`;
}

/** The replies to a held request, each with the summary of its operation. */
function replies(operations) {
  return operations
    .filter((each) => each.reply && each.action === "send")
    .map((each) => make("p", { class: "hint" }, `${each.summary} `, link(last(each.reply.channel.$ref))));
}

function link(topic) {
  return make("a", { href: `#event-${topic}`, onclick: () => (document.getElementById(`event-${topic}`).open = true) }, topic);
}

function fields(document_, data) {
  const required = new Set(data.required ?? []);
  return Object.entries(data.properties ?? {}).map(([name, schema]) => {
    const whole = resolved(document_, schema);
    return [`${name}${required.has(name) ? "" : " (optional)"}`, type(document_, whole), whole.description ?? ""];
  });
}

/** A schema with its references resolved; keys beside a reference override it. */
function resolved(document_, schema) {
  const parts = [...(schema.allOf ?? []), ...(schema.$ref ? [schema] : [])];
  const referred = parts.map((each) => (each.$ref ? resolved(document_, document_.components.schemas[last(each.$ref)]) : each));
  return Object.assign({}, ...referred, schema);
}

function type(document_, schema) {
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((each) => JSON.stringify(each)).join(" | ");
  if (schema.type === "array") return `array of ${type(document_, resolved(document_, schema.items ?? {}))}`;
  if (schema.type === "object" && schema.properties) return `{ ${Object.keys(schema.properties).join(", ")} }`;
  return [schema.format ?? schema.type ?? "any"].flat().join(" or ");
}

function last(reference) {
  return reference.split("/").at(-1);
}
