// Accounts, mails, health and dead letters.

import { clock, find, make, money, nothing, table } from "./dom.js";
import { get, post } from "./shop.js";
import { state } from "./state.js";

const ACCOUNTS_MAX = 20;
const READ_MS = 250; // one read covers several events of an account
// Balances by user id, in cents; null without an account, missing if not read yet.
const balances = new Map();
const due = new Map();

/** Read an account after READ_MS. */
export function readSoon(userId) {
  if (!userId || due.has(userId)) return;
  due.set(
    userId,
    setTimeout(async () => {
      due.delete(userId);
      if (!state.people.has(userId)) return; // an event may contain any user id
      const account = await get(`/api/account/${userId}`);
      if (account !== undefined) balances.set(userId, account && account.balance_cents);
      accounts();
    }, READ_MS),
  );
}

/** Read all accounts in the panel. */
export function readAll() {
  for (const person of newest()) readSoon(person.user_id);
}

function newest() {
  return [...state.people.values()].reverse().slice(0, ACCOUNTS_MAX);
}

/** Show the accounts of the known users. */
export function accounts() {
  const rows = newest().map((each) => [
    make("span", {}, each.name, make("span", { class: "second" }, each.email)),
    make("span", { class: "number" }, balance(balances.get(each.user_id))),
  ]);
  const none = nothing("No users yet. Register a user.");
  find("accounts", ".scroll").replaceChildren(rows.length ? table("Accounts", ["User", "Balance"], rows) : none);
}

function balance(cents) {
  if (cents === undefined) return "…";
  return cents === null ? "not open yet" : money(cents);
}

/** Show the mails, newest first; open ones stay open. */
export function mails() {
  const open = new Set([...document.querySelectorAll("#mailbox details[open]")].map((each) => each.dataset.mail));
  find("mailbox", ".count").textContent = state.mails.length ? `(${state.mails.length})` : "";
  find("mailbox", ".list").replaceChildren(
    ...(state.mails.length ? [] : [nothing("No mails yet. Each order ends with one.")]),
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

/** Show the dead letters: events that a service could not process. */
export function deadLetters() {
  if (typeof state.dead_letters === "string") {
    find("dead-letters", ".scroll").replaceChildren(make("p", { class: "bad" }, state.dead_letters));
    return;
  }
  const { total, newest: open } = state.dead_letters;
  find("dead-letters", ".count").textContent = total ? `(${total})` : "";
  const rows = open.map((letter) => [
    make("span", {}, letter.topic, make("span", { class: "second" }, `of ${letter.service}`)),
    make(
      "span",
      { class: "reason" },
      letter.reason,
      make("span", { class: "second" }, make("time", { datetime: letter.time }, day(letter.time))),
    ),
    make(
      "span",
      { class: "row" },
      action(letter, "replay", "Replay", "The event is published again on its topic. A service that already processed it treats it as a repetition."),
      action(letter, "discard", "Discard", "The event leaves this list. The command line can still show it."),
    ),
  ]);
  const none = nothing("No dead letters.");
  const heads = ["Event", "Reason", "Actions"];
  find("dead-letters", ".scroll").replaceChildren(rows.length ? table("Dead letters", heads, rows) : none);
}

function day(time) {
  return `${time.replace("T", " ").replace(/(\.\d+)?(Z|\+00:00)$/, "")} UTC`;
}

function action(letter, name, title, text) {
  return make(
    "button",
    {
      type: "button",
      class: "quiet",
      "aria-label": `${title} ${letter.topic} of ${letter.service}, ${letter.id}`,
      onclick: () => ask(`${title} ${letter.topic} of ${letter.service}?`, text, title, () => act(letter, name)),
    },
    title,
  );
}

async function act(letter, name) {
  const result = find("dead-letters", ".result");
  result.textContent = `${name}: waiting for the response`;
  const answer = await post(`/dead-letters/${letter.service}/${letter.id}/${name}`);
  result.textContent = answer.ok ? `${letter.topic} of ${letter.service}: ${answer.body.outcome}` : answer.message;
}

let onConfirm; // the action of the open dialog

/** Set up the dialog: its confirm button runs the action; Escape and Cancel close it. */
export function init() {
  find("confirm", "form").addEventListener("submit", (event) => event.submitter?.value === "yes" && onConfirm());
}

function ask(title, text, yes, then) {
  onConfirm = then;
  find("confirm-title").textContent = title;
  find("confirm-text").textContent = text;
  find("confirm-yes").textContent = yes;
  find("confirm").showModal();
}
