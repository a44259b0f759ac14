// The operator who uses the page, the audit trail, the search of a flow by id, and the lag.

import { find, limited, make, nothing, plural, refill } from "./dom.js";
import { post, read } from "./gateway.js";
import { page } from "./page.js";

const REFRESH_MS = 10_000;
const MUCH_SECONDS = 60; // an older event that waits is marked
let token = ""; // in memory only: a reload forgets it
let who = "";
let before; // the number before which the shown part of the trail ends; undefined for the newest
const SIGNED_OUT = "Sign in to see dead letters, the audit trail, flows by id, and lag.";
const DEAD_LETTER_ACTIONS = { replay: true, discard: true };
const changed = [];

/** Call `then` now if an operator is signed in, and after each sign-in and sign-out. */
export function whenOperatorChanges(then) {
  changed.push(then);
  if (who) then();
}

/** Whether the page may ask for what only operators see. */
export function isSignedIn() {
  return who !== "";
}

/** Send a request of the operator, as `read` of gateway.js; no answer arrives after a sign-out. */
export async function fetched(path) {
  const asked = token;
  const answer = await read(path, token);
  return asked === token ? answer : new Promise(() => {});
}

/** Send an action of the operator. */
export function act(path) {
  return post(path, undefined, token);
}

/** Set up the forms, identify the operator, and refresh what is shown while the page is visible. */
export function init() {
  find("sign-in").addEventListener("submit", (event) => {
    event.preventDefault();
    signIn(find("sign-in", "input").value.trim());
  });
  find("search").addEventListener("submit", (event) => {
    event.preventDefault();
    search();
  });
  find("audit-newest").addEventListener("click", () => trail(undefined));
  find("audit-older").addEventListener("click", (event) => trail(Number(event.target.dataset.before)));
  find("sign-out").addEventListener("click", () => signOut(find("operator", "summary")));
  signOut();
  setInterval(() => document.visibilityState === "visible" && refresh(), REFRESH_MS);
}

/** Forget the token: the page acts by its key again, or shows nothing that needs an operator. */
function signOut(focused) {
  token = who = "";
  before = undefined;
  showOperator();
  find("audit-newest").disabled = find("audit-older").disabled = true;
  for (const shown of ["audit", "lag", "trace"]) find(shown, ".scroll").replaceChildren();
  find("trace", ".list").replaceChildren();
  find("search", "output").textContent = "";
  for (const then of changed) then();
  if (!page.asks_token) signIn("");
  focused?.focus();
}

function showOperator() {
  find("operator", ".who").textContent = who ? `You act as ${who}. The audit trail names you.` : page.asks_token ? SIGNED_OUT : "";
  find("sign-out").hidden = !token;
  find("operator", "details").hidden = Boolean(token);
  find("operator", "details").open = !token && page.asks_token;
}

async function signIn(chosen) {
  const answer = await read("/operator/me", chosen);
  find("sign-in", "output").textContent = answer.ok ? "" : answer.message;
  if (!answer.ok) return;
  token = chosen;
  who = answer.body.who;
  find("sign-in", "input").value = "";
  showOperator();
  if (token) find("sign-out").focus();
  for (const then of changed) then();
  refresh();
}

/** Read the lag, and the newest part of the trail if that is shown. */
export function refresh() {
  if (!isSignedIn()) return;
  lag();
  if (before === undefined) trail(undefined);
}

async function trail(from) {
  const answer = await fetched(`/operator/audit-trail${from === undefined ? "" : `?before=${from}`}`);
  const shown = find("audit", ".scroll");
  if (!answer.ok) return shown.replaceChildren(make("p", { class: "bad" }, answer.message));
  before = from;
  const { entries } = answer.body;
  const rows = entries.map((each) => [
    make("time", { datetime: each.at }, day(each.at)),
    make("span", {}, each.who, make("span", { class: "second" }, `by the ${each.via}`)),
    make("span", {}, each.action, make("span", { class: "second" }, `${each.target}${each.action in DEAD_LETTER_ACTIONS ? `: ${plural(each.count, "dead letter")}` : ""}`)),
    make("span", {}, each.outcome, make("span", { class: "second" }, counts(each.results))),
  ]);
  const heads = ["Time", "Operator", "Action", "Outcome"];
  refill(shown, rows.length ? limited("Audit trail", heads, rows, "wide") : nothing("No actions yet."));
  const oldest = entries.at(-1)?.number ?? 0;
  find("audit-older").disabled = !oldest;
  find("audit-older").dataset.before = oldest;
  find("audit-newest").disabled = from === undefined;
}

/** The outcomes of a run in words. */
export function counts(results) {
  return Object.entries(results).map(([outcome, count]) => `${count.toLocaleString("en")} ${outcome}`).join(", ");
}

/** A time of a record in UTC, in whole seconds. */
export function day(time) {
  return moment(time.replace(/\.\d+/, ""));
}

/** A time of a record in UTC, as exact as it was recorded. */
function moment(time) {
  return `${time.replace("T", " ").replace(/(Z|\+00:00)$/, "")} UTC`;
}

async function search() {
  const id = find("search", "input").value.trim();
  const answer = await fetched(`/operator/flows/${encodeURIComponent(id)}`);
  const found = answer.ok ? answer.body : { trace: { moments: [], records: [], problems: [] }, seen: [] };
  find("search", "output").textContent = answer.ok
    ? `${plural(found.trace.records.length, "record")}, ${plural(found.seen.length, "event")} seen by this page`
    : answer.message;
  const seen = found.seen.map((each) => ({ at: each.at, app: "", what: `passed ${each.topic}`, source: "seen" }));
  const moments = [...found.trace.moments, ...seen].sort((one, other) => (one.at < other.at ? -1 : 1));
  const rows = moments.map((each) => [make("time", { datetime: each.at }, moment(each.at)), what(each)]);
  find("trace", ".moments").replaceChildren(
    ...found.trace.problems.map((each) => make("p", { class: "bad" }, each)),
    rows.length ? limited("The flow over time", ["Time", "What"], rows, "wide") : nothing(answer.ok ? "Nothing is known about this id." : ""),
  );
  find("trace", ".list").replaceChildren(
    ...found.trace.records.map((record) =>
      make(
        "details",
        {},
        make("summary", {}, make("strong", {}, record.key), make("span", { class: "second" }, `a record of ${record.app}`)),
        make("pre", {}, Object.entries(record.fields).map(([name, value]) => `${name}: ${value}`).join("\n")),
      ),
    ),
  );
}

function what(each) {
  const from = each.source === "seen" ? "seen by this page" : `${each.source} of ${each.app}`;
  return make("span", {}, each.what, make("span", { class: "second" }, from));
}

async function lag() {
  const answer = await fetched("/operator/lag");
  const shown = find("lag", ".scroll");
  if (!answer.ok) return shown.replaceChildren(make("p", { class: "bad" }, answer.message));
  const { consumers, kept, stuck, stuck_total: total, problems } = answer.body;
  const behind = consumers.filter((each) => each.waiting || each.unacknowledged);
  const rows = behind.map((each) => [
    make("span", {}, each.topic, make("span", { class: "second" }, `for ${each.consumer}`)),
    number(each.waiting),
    number(each.unacknowledged),
    age(each.oldest_seconds),
  ]);
  const idle = consumers.length - behind.length;
  refill(
    shown,
    ...problems.map((each) => make("p", { class: "bad" }, each)),
    make("h3", {}, `Flows that do not end: ${total}`),
    ...stuck.map(stuckFlow),
    make("h3", {}, "Consumers"),
    rows.length ? limited("Lag of consumers", ["Topic", "Waiting", "Delivered", "Oldest"], rows, "wide") : nothing("No event waits."),
    make("p", { class: "hint" }, `${plural(idle, "consumer")} without a waiting event.`),
    ...(kept.length ? [make("h3", {}, "Streams"), streams(kept)] : []),
  );
}

function stuckFlow(flow) {
  return make(
    "p",
    { class: "bad stuck" },
    make("span", {}, `${flow.kind} ${flow.id}`, make("span", { class: "second" }, `accepted ${day(flow.at)}, repeated ${plural(flow.attempts, "time")}`)),
    make(
      "button",
      {
        type: "button",
        class: "quiet",
        "aria-label": `Find ${flow.kind} ${flow.id}`,
        onclick: () => {
          find("search", "input").value = flow.id;
          search();
        },
      },
      "Find",
    ),
  );
}

function streams(kept) {
  const rows = kept.map((each) => [each.topic, number(each.entries), age(each.oldest_seconds, Infinity)]);
  return limited("Kept events", ["Topic", "Kept", "Oldest"], rows);
}

function number(value) {
  return make("span", { class: "number" }, value === null ? "unknown" : value.toLocaleString("en"));
}

function age(seconds, much = MUCH_SECONDS) {
  if (seconds === null) return "unknown";
  const text = seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60).toLocaleString("en")} min`;
  return make("span", { class: seconds > much ? "bad number" : "number" }, text);
}
