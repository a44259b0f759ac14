// The inputs of generated forms: their elements, suggested values, and the body that they make.

import { make } from "./dom.js";
import { page } from "./page.js";
import { state } from "./state.js";

const TYPES = new Set(["email", "date", "url"]);
const chosen = new Map(); // the id to select, by kind, until its resource is known
let turn = Math.floor(Math.random() * 1000); // each page begins with another example

/** The labeled inputs of a form; those of one row stand side by side. */
export function inputs(fields) {
  const parts = [];
  let row;
  for (const field of fields) {
    if (!field.row) parts.push(labeled(field));
    else if (row?.dataset.row === field.row) row.append(labeled(field));
    else parts.push((row = make("div", { class: "row", "data-row": field.row }, labeled(field))));
  }
  return parts;
}

function labeled(field) {
  if (field.kind === "boolean") return make("label", { class: "check" }, input(field), field.label);
  return make("label", {}, `${field.label} `, input(field));
}

function input(field) {
  const common = { name: field.name, required: field.is_required };
  switch (field.kind) {
    case "resource":
      return make("select", { ...common, "data-kind": field.resource, onchange: () => chosen.delete(field.resource) });
    case "choice":
      return make(
        "select",
        common,
        ...(field.is_required ? [] : [make("option", { value: "" }, "")]),
        ...field.choices.map((each) => make("option", { value: each }, each)),
      );
    case "boolean":
      return make("input", { name: field.name, type: "checkbox" });
    case "integer":
    case "number":
      return make("input", {
        ...common,
        autocomplete: "off",
        inputmode: field.kind === "integer" && !field.decimals ? "numeric" : "decimal",
      });
    default:
      return make("input", {
        ...common,
        type: TYPES.has(field.kind) ? field.kind : undefined,
        autocomplete: "off",
        maxlength: field.characters_max,
        list: field.resource ? `known-${field.resource}` : undefined,
      });
  }
}

/** Fill in suggested values; `again` replaces only those that differ each time. */
export function suggest(form, fields, again = false) {
  turn += 1;
  const random = Math.random().toString(36).slice(2, 8);
  const examples = fields.filter((each) => each.examples.length && each.kind !== "resource").map((field) => {
    return { field, example: field.examples[turn % field.examples.length] };
  });
  // An example may refer to another field, which therefore comes first.
  examples.sort((one, other) => one.example.includes("{") - other.example.includes("{"));
  for (const { field, example } of examples) {
    if (again && field.examples.length === 1 && !example.includes("{")) continue;
    const text = example.replace(/\{([^}]+)\}/g, (_, name) => (name === "random" ? random : firstWord(form, name)));
    const element = form.elements[field.name];
    if (field.kind === "boolean") element.checked = text === "true";
    else if (text) element.value = text;
  }
}

function firstWord(form, name) {
  return (form.elements[name]?.value ?? "").split(" ")[0].toLowerCase();
}

/** The request body of a form; `set` overrides fields by their names. */
export function bodyOf(form, fields, set = {}) {
  const body = {};
  for (const field of fields) {
    const value = field.name in set ? set[field.name] : valueOf(field, form.elements[field.name]);
    if (value !== undefined) assign(body, field.name.split("."), value);
  }
  return body;
}

/** The value of an input; text that is no number stays, so that the gateway reports it. */
function valueOf(field, element) {
  if (field.kind === "boolean") return element.checked;
  const text = element.value;
  if (!text && !field.is_required) return undefined;
  if (field.kind !== "integer" && field.kind !== "number") return text;
  const number = Number(text.trim().replace(",", "."));
  if (!text.trim() || !Number.isFinite(number)) return text;
  return field.decimals ? Math.round(number * 10 ** field.decimals) : number;
}

function assign(body, [first, ...others], value) {
  if (!others.length) body[first] = value;
  else assign((body[first] ??= /^\d+$/.test(others[0]) ? [] : {}), others, value);
}

/** Select a new resource in all forms, as soon as it is known. */
export function choose(answer) {
  const id = answer.location.split("/").at(-1);
  const kind = Object.keys(answer.body).find((name) => id && answer.body[name] === id);
  if (kind) chosen.set(kind, id);
}

/** Offer all known resources in the inputs of their ids. */
export function offer() {
  for (const select of document.querySelectorAll("select[data-kind]")) offerIn(select);
  for (const form of document.querySelectorAll("#try form")) {
    const isEmpty = [...form.querySelectorAll("select[data-kind][required]")].some((each) => !each.value);
    for (const button of form.querySelectorAll("button")) button.disabled = isEmpty;
  }
  for (const [kind, known] of state.resources) {
    if (page.resources[kind]) continue;
    const id = `known-${kind}`;
    const list = make("datalist", { id }, ...[...known.values()].reverse().map((each) => make("option", { value: each.id })));
    document.getElementById(id)?.replaceWith(list);
    if (!list.isConnected) document.body.append(list);
  }
  for (const [kind, id] of chosen) if (state.resources.get(kind)?.has(id)) chosen.delete(kind);
}

function offerIn(select) {
  const { kind } = select.dataset;
  const known = state.resources.get(kind) ?? new Map();
  const before = known.has(chosen.get(kind)) ? chosen.get(kind) : select.value;
  select.replaceChildren(
    ...(known.size ? [] : [make("option", { value: "" }, page.resources[kind].none)]),
    ...[...known.values()].reverse().map((each) => make("option", { value: each.id }, titleOf(each))),
  );
  if (known.has(before)) select.value = before;
}

function titleOf(resource) {
  return resource.detail ? `${resource.label} (${resource.detail})` : resource.label;
}
