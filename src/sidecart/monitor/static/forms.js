// A form for each command of the gateway, and one that reads resources.

import { find, make } from "./dom.js";
import { post, read } from "./gateway.js";
import { bodyOf, choose, inputs, offer, suggest } from "./inputs.js";
import { page, shownValue } from "./page.js";

const DONE = new Set([200, 201]);

/** Set up: generate the forms, suggest values, and handle submissions. */
export function init() {
  const section = find("try");
  section.append(...page.forms.map(command));
  if (page.queries.length) section.append(reader());
  if (page.problem) section.append(make("p", { class: "bad" }, page.problem));
  offer();
}

function command(described) {
  const form = make(
    "form",
    { id: described.id, novalidate: true, onsubmit: (event) => submitted(event, () => send(form, described)) },
    make("h3", {}, described.title),
    ...inputs(described.fields),
    buttons(described),
    make("output"),
  );
  suggest(form, described.fields);
  return form;

  function buttons({ button, actions }) {
    if (!actions.length) return make("button", {}, button);
    const others = actions.map((action) =>
      make("button", { type: "button", class: "quiet", onclick: () => send(form, described, action) }, action.button),
    );
    return make("div", { class: "row" }, make("button", {}, button), ...others);
  }
}

/** Send a form; an action sends its own values in some fields. */
async function send(form, described, action) {
  await answered(form, async () => {
    const answer = await post(`/api${described.path}`, bodyOf(form, described.fields, action?.set ?? {}));
    if (answer.ok) {
      choose(answer);
      suggest(form, described.fields, true);
      offer();
    }
    const shown = described.shows && answer.body[described.shows.field];
    const more = shown === undefined || shown === null ? "" : `; ${described.shows.label} ${shownValue(described.shows, answer.body)}`;
    return { ...answer, message: answer.message + more };
  });
}

/** The form that reads a resource by the path of a query. */
function reader() {
  const fields = make("div", { class: "row" });
  const output = make("pre", { tabindex: 0, hidden: true });
  const paths = make("select", { name: "path", onchange: () => show() }, ...page.queries.map(option));
  const form = make(
    "form",
    { id: "read", novalidate: true, onsubmit: (event) => submitted(event, () => answered(form, ask)) },
    make("h3", {}, "Read a resource"),
    make("label", {}, "Path ", paths),
    fields,
    make("button", {}, "Read"),
    make("output"),
    output,
  );
  show();
  return form;

  function show() {
    fields.replaceChildren(...inputs(page.queries[paths.selectedIndex].fields));
    offer();
  }

  async function ask() {
    const answer = await read(`/api${filled(page.queries[paths.selectedIndex].path, form)}`);
    output.hidden = false;
    output.textContent = JSON.stringify(answer.body, null, 2);
    return answer;
  }
}

function option({ path }) {
  return make("option", {}, path);
}

/** A path whose parameters are the values of the form's fields. */
function filled(path, form) {
  return path.replace(/\{(\w+)\}/g, (_, name) => encodeURIComponent(form.elements[name].value));
}

function submitted(event, act) {
  event.preventDefault();
  act();
}

/** Run an action of a form, and show the message of its answer. */
async function answered(form, act) {
  const output = form.querySelector("output");
  show(output, "plain", "waiting for the response");
  form.setAttribute("aria-busy", "true");
  const answer = await act();
  form.removeAttribute("aria-busy");
  show(output, DONE.has(answer.status) ? "good" : answer.ok ? "plain" : "bad", answer.message);
}

function show(output, kind, text) {
  output.className = kind;
  output.textContent = text;
}
