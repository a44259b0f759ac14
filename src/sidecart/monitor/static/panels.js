// Values of known resources, mails and health.

import { clock, find, limited, make, nothing, refill, table } from "./dom.js";
import { get } from "./gateway.js";
import { page, shownValue } from "./page.js";
import { state } from "./state.js";

const ROWS_MAX = 20;
const NO_CATCHER = "The mails go to a mail server that this page cannot read.";
const READ_MS = 250; // one read covers several events of a resource
// The answers by panel and id; null for a missing resource, no entry if not read yet.
const answers = page.panels.map(() => new Map());
const due = page.panels.map(() => new Map());

/** Read the values again that an event of this flow has changed. */
export function refresh(topic, flow) {
  page.panels.forEach((panel, place) => {
    if (panel.refreshed_by.includes(topic)) readSoon(place, flow.ids[panel.resource]);
  });
}

/** Read the value of a resource after READ_MS. */
function readSoon(place, id) {
  if (!id || due[place].has(id)) return;
  const panel = page.panels[place];
  due[place].set(
    id,
    setTimeout(async () => {
      due[place].delete(id);
      if (!known(panel).has(id)) return; // an event may contain any id
      const answer = await get(`/api${panel.read.replace(`{${panel.resource}}`, encodeURIComponent(id))}`);
      if (answer !== undefined) answers[place].set(id, answer);
      values();
    }, READ_MS),
  );
}

/** Read all values in the panels. */
export function readAll() {
  page.panels.forEach((panel, place) => newest(panel).forEach((each) => readSoon(place, each.id)));
}

function known(panel) {
  return state.resources.get(panel.resource) ?? new Map();
}

function newest(panel) {
  return [...known(panel).values()].reverse().slice(0, ROWS_MAX);
}

/** Show the known resources of each panel with their values. */
export function values() {
  page.panels.forEach((panel, place) => {
    const rows = newest(panel).map((each) => [
      make("span", {}, each.label, each.detail ? make("span", { class: "second" }, each.detail) : null),
      make("span", { class: "number" }, shown(panel, answers[place].get(each.id))),
    ]);
    const heads = [page.resources[panel.resource].title, panel.shows.label];
    refill(find(`panel-${place}`, ".scroll"), rows.length ? limited(panel.title, heads, rows) : nothing(panel.none));
  });
}

function shown(panel, answer) {
  if (answer === undefined) return "…";
  return answer === null ? panel.missing : shownValue(panel.shows, answer);
}

function section(panel, place) {
  const id = `panel-${place}-title`;
  return make(
    "section",
    { id: `panel-${place}`, "aria-labelledby": id },
    make("h2", { id }, panel.title),
    make("div", { class: "scroll", role: "group", "aria-labelledby": id, tabindex: 0 }),
  );
}

/** Show the mails, newest first; open ones stay open. */
export function mails() {
  const open = new Set([...document.querySelectorAll("#mailbox details[open]")].map((each) => each.dataset.mail));
  find("mailbox").hidden = !page.mail && !state.mails.length;
  find("mailbox", ".count").textContent = state.mails.length ? `(${state.mails.length})` : "";
  find("mailbox", ".list").replaceChildren(
    ...(state.mails.length ? [] : [nothing(state.about.mail_url === "" ? NO_CATCHER : (page.mail?.none ?? ""))]),
    ...[...state.mails].reverse().map((mail) =>
      make(
        "details",
        { "data-mail": mail.id, open: open.has(String(mail.id)) },
        make(
          "summary",
          {},
          make("strong", {}, mail.subject),
          make("span", { class: "second" }, `to ${mail.to}`, make("time", {}, clock(mail.taken_at * 1000))),
        ),
        make("pre", {}, mail.text),
      ),
    ),
  );
}

/** Show the health and the backlog of every process. */
export function health() {
  const rows = state.health.map((each) => [
    each.name,
    light(each.app === "ready", each.app),
    light(each.sidecar === "up", each.sidecar),
    make("span", { class: "number" }, each.waiting === null ? "unknown" : String(each.waiting)),
  ]);
  const heads = ["Service", "App", "Sidecar", "Waiting"];
  find("health", ".scroll").replaceChildren(
    rows.length ? table("Health and lag of every service", heads, rows) : nothing("Checking all processes."),
  );
}

function light(good, text) {
  return make("span", { class: good ? "good light" : "bad light" }, text);
}

/** Set up the panels. */
export function init() {
  find("panels").append(...page.panels.map(section));
  find("panels").hidden = !page.panels.length;
}
