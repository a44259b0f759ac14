// The operator who uses the page, the audit trail, the search of a flow by id, and the lag.

import { find, make, nothing, table } from "./dom.js";
import { post, read } from "./gateway.js";
import { page } from "./page.js";

const REFRESH_MS = 10_000;
const MUCH_SECONDS = 60; // an older event that waits is marked
let token = ""; // in memory only: a reload forgets it
let who = "";
let before; // the number before which the shown part of the trail ends; undefined for the newest
const signedIn = [];

/** Call `then` now and after each later sign-in. */
export function whenSignedIn(then) {
  signedIn.push(then);
  if (who) then();
}

/** Whether the page may ask for what only operators see. */
export function isSignedIn() {
  return who !== "";
}

/** Send a request of the operator; returns the same as `post` and `read` of gateway.js. */
export function fetched(path) {
  return read(path, token);
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
  find("operator", "details").open = page.asks_token;
  if (!page.asks_token) signIn("");
  setInterval(() => document.visibilityState === "visible" && refresh(), REFRESH_MS);
}

async function signIn(chosen) {
  const answer = await read("/operator/me", chosen);
  find("sign-in", "output").textContent = answer.ok ? "" : answer.message;
  if (!answer.ok) return;
  token = chosen;
  who = answer.body.who;
  find("sign-in", "input").value = "";
  find("operator", ".who").textContent = `You act as ${who}. The audit trail names you.`;
  for (const then of signedIn) then();
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
    make("span", {}, each.action, make("span", { class: "second" }, `${each.target}, ${each.count.toLocaleString("en")}`)),
    make("span", {}, each.outcome, make("span", { class: "second" }, counts(each.results))),
  ]);
  const heads = ["Time", "Operator", "Action", "Outcome"];
  shown.replaceChildren(rows.length ? table("Audit trail", heads, rows) : nothing("No actions yet."));
  const oldest = entries.at(-1)?.number ?? 0;
  find("audit-older").disabled = !oldest;
  find("audit-older").dataset.before = oldest;
  find("audit-newest").disabled = from === undefined;
}

/** The outcomes of a run in words. */
export function counts(results) {
  return Object.entries(results).map(([outcome, count]) => `${count.toLocaleString("en")} ${outcome}`).join(", ");
}

/** A time of a record in UTC. */
export function day(time) {
  return `${time.replace("T", " ").replace(/(\.\d+)?(Z|\+00:00)$/, "")} UTC`;
}

async function search() {
  const id = find("search", "input").value.trim();
  const answer = await fetched(`/operator/flows/${encodeURIComponent(id)}`);
  const found = answer.ok ? answer.body : { trace: { moments: [], records: [], problems: [] }, seen: [] };
  find("search", "output").textContent = answer.ok
    ? `${found.trace.records.length} records, ${found.seen.length} events seen by this page`
    : answer.message;
  const seen = found.seen.map((each) => ({ at: each.at, app: "", what: `passed ${each.topic}`, source: "seen" }));
  const moments = [...found.trace.moments, ...seen].sort((one, other) => (one.at < other.at ? -1 : 1));
  const rows = moments.map((each) => [make("time", { datetime: each.at }, each.at), each.app, each.what, each.source]);
  find("trace", ".moments").replaceChildren(
    ...found.trace.problems.map((each) => make("p", { class: "bad" }, each)),
    rows.length ? table("The flow over time", ["Time", "App", "What", "Source"], rows) : nothing(answer.ok ? "Nothing is known about this id." : ""),
  );
  find("trace", ".list").replaceChildren(
    ...found.trace.records.map((record) =>
      make(
        "details",
        {},
        make("summary", {}, make("strong", {}, `${record.app}: ${record.key}`)),
        make("pre", {}, Object.entries(record.fields).map(([name, value]) => `${name}: ${value}`).join("\n")),
      ),
    ),
  );
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
  shown.replaceChildren(
    ...problems.map((each) => make("p", { class: "bad" }, each)),
    make("h3", {}, `Flows that do not end: ${total}`),
    ...stuck.map(stuckFlow),
    make("h3", {}, "Consumers"),
    rows.length ? table("Lag of consumers", ["Topic", "Waiting", "Delivered", "Oldest"], rows) : nothing("No event waits."),
    make("p", { class: "hint" }, `${idle} consumers have nothing to do.`),
    ...(kept.length ? [make("h3", {}, "Streams"), streams(kept)] : []),
  );
}

function stuckFlow(flow) {
  return make(
    "p",
    { class: "bad" },
    `${flow.kind} ${flow.id}, accepted ${day(flow.at)}, repeated ${flow.attempts} times `,
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
  return table("Kept events", ["Topic", "Kept events", "Oldest"], rows);
}

function number(value) {
  return make("span", { class: "number" }, value === null ? "unknown" : value.toLocaleString("en"));
}

function age(seconds, much = MUCH_SECONDS) {
  if (seconds === null) return "unknown";
  const text = seconds < 120 ? `${Math.round(seconds)} s` : `${Math.round(seconds / 60).toLocaleString("en")} min`;
  return make("span", { class: seconds > much ? "bad number" : "number" }, text);
}
