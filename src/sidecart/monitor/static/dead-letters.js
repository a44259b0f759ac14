// Dead letters: groups by cause, the newest ones, and the actions on them.

import { find, limited, make, nothing, plural, refill } from "./dom.js";
import { act, counts, day, fetched, isSignedIn, refresh, whenOperatorChanges } from "./operator.js";
import { state } from "./state.js";

// The actions; each text is for one dead letter and for several.
const ACTIONS = {
  replay: {
    title: "Replay",
    one: "The event is published again on its topic. A service that already processed it treats it as a repetition.",
    all: "Each event is published again on its topic. A service that already processed it treats it as a repetition.",
  },
  discard: {
    title: "Discard",
    one: "You cannot undo this: a discarded dead letter cannot be replayed. The command line can still show it.",
    all: "You cannot undo this: discarded dead letters cannot be replayed. The command line can still show them.",
    isDangerous: true,
  },
};
let onConfirm; // the action of the open dialog

/** Set up the dialog: its confirm button acts; Escape and Cancel close it. */
export function init() {
  find("confirm", "form").addEventListener("submit", (event) => event.submitter?.value === "yes" && onConfirm());
  find("group-stop").addEventListener("click", () => act("/operator/stop"));
  whenOperatorChanges(render);
}

/** Show the dead letters; those of a closed page are read by the operator's token. */
export async function render() {
  const notice = state.dead_letters;
  if (typeof notice !== "string") find("dead-letters", ".count").textContent = notice.total ? `(${notice.total})` : "";
  if (typeof notice === "string" || notice.newest) return draw(notice);
  if (!isSignedIn()) return draw("Sign in as an operator to see the dead letters.");
  const answer = await fetched("/operator/dead-letters");
  draw(answer.ok ? answer.body : answer.message);
}

function draw(found) {
  if (typeof found === "string") {
    find("dead-letters", ".groups").replaceChildren(make("p", { class: "bad" }, found));
    find("dead-letters", ".newest").replaceChildren();
    return;
  }
  const none = nothing("No dead letters.");
  const groups = found.groups.map(group);
  const rows = found.newest.map(letter);
  const more = found.more ? [make("p", { class: "hint" }, `${found.more} more causes: ./sidecart dead-letters groups`)] : [];
  refill(
    find("dead-letters", ".groups"),
    groups.length ? limited("Dead letters by cause", ["Cause", "Count", "Time", "Actions"], groups, "wide") : none,
    ...more,
  );
  refill(
    find("dead-letters", ".newest"),
    ...(rows.length ? [make("h3", {}, "Newest"), limited("Dead letters", ["Event", "Reason", "Actions"], rows, "wide")] : []),
  );
}

function group(one) {
  const open = one.open === 1 ? "the dead letter" : `all ${one.open.toLocaleString("en")} dead letters`;
  const buttons = Object.entries(ACTIONS).map(([name, action]) =>
    button(action, `${action.title} ${open} of group ${one.id}: ${one.topic} of ${one.service}`, () =>
      confirm(action, `${action.title} ${open} of this group?`, action.all, {
        Event: `${one.topic} of ${one.service}`,
        Cause: one.reason,
        Group: one.id,
        Count: plural(one.open, "dead letter"),
      }, () => send(`/operator/groups/${one.id}/${name}`, "")),
    ),
  );
  const erased = `${one.erased.toLocaleString("en")} erased: their events were removed with the data of a person`;
  return [
    make("span", {}, one.topic, make("span", { class: "second" }, `of ${one.service}, group ${one.id}`), make("span", { class: "reason" }, one.reason)),
    make("span", { class: "number" }, one.open.toLocaleString("en"), one.erased ? make("span", { class: "second" }, erased) : null),
    make("span", {}, make("time", { datetime: one.first }, day(one.first)), make("span", { class: "second until" }, "to ", make("time", { datetime: one.last }, day(one.last)))),
    make("span", { class: "row" }, ...(one.open ? buttons : [])),
  ];
}

function letter(one) {
  const what = `${one.topic} of ${one.service}`;
  const buttons = Object.entries(ACTIONS).map(([name, action]) =>
    button(action, `${action.title} ${what}, ${one.id}`, () =>
      confirm(action, `${action.title} this dead letter?`, action.one, {
        Event: what,
        Reason: one.reason,
        Id: one.id,
        Time: day(one.time),
      }, () => send(`/dead-letters/${one.service}/${one.id}/${name}`, what)),
    ),
  );
  return [
    make("span", {}, one.topic, make("span", { class: "second" }, `of ${one.service}`)),
    make("span", { class: "reason" }, one.reason, make("span", { class: "second" }, make("time", { datetime: one.time }, day(one.time)))),
    make("span", { class: "row" }, ...buttons),
  ];
}

function button(action, label, onclick) {
  const kind = action.isDangerous ? "quiet danger" : "quiet";
  return make("button", { type: "button", class: kind, "aria-label": label, onclick }, action.title);
}

async function send(path, what) {
  const result = find("dead-letters", ".result");
  result.textContent = "waiting for the response";
  const answer = await act(path);
  result.textContent = !answer.ok ? answer.message : what ? `${what}: ${answer.body.outcome}` : "";
  refresh();
}

/** Show the progress of the replay or discard of a group. */
export function run() {
  const now = state.group_run;
  find("group-run").hidden = !now;
  if (!now) return;
  const done = Object.values(now.outcomes).reduce((sum, count) => sum + count, 0);
  const isRunning = now.state === "running";
  const progress = isRunning ? `${done.toLocaleString("en")} of ${now.total.toLocaleString("en")}` : now.state;
  const more = now.why || counts(now.outcomes);
  find("group-run", ".progress").textContent = `${now.action} of group ${now.group}: ${progress}${more ? `; ${more}` : ""}`;
  find("group-run", "progress").max = Math.max(1, now.total);
  find("group-run", "progress").value = done;
  find("group-run", "progress").hidden = find("group-stop").hidden = !isRunning;
  if (!isRunning) refresh();
}

/** Ask before an action: the dialog names what the action selects. */
function confirm(action, title, text, facts, then) {
  onConfirm = then;
  find("confirm-title").textContent = title;
  find("confirm-facts").replaceChildren(
    ...Object.entries(facts).map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))),
  );
  find("confirm-text").textContent = text;
  find("confirm-yes").textContent = action.title;
  find("confirm-yes").className = action.isDangerous ? "danger" : "";
  find("confirm").showModal();
}
