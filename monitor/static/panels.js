// Accounts, mails, health and dead letters.

import { clock, find, make, money, nothing, table } from "./dom.js";
import { get, post } from "./shop.js";
import { state } from "./state.js";

const ACCOUNTS_MAX = 20;
const READ_MS = 250; // several events of one account are one look at it
const balances = new Map(); // by user: cents, or null if there is no account yet; one that was not read is not here
const due = new Map();

/** Read an account soon. */
export function readSoon(userId) {
  if (!userId || due.has(userId)) return;
  due.set(
    userId,
    setTimeout(async () => {
      due.delete(userId);
      if (!state.people.has(userId)) return; // an event may name anybody
      const account = await get(`/api/account/${userId}`);
      if (account !== undefined) balances.set(userId, account && account.balance_cents);
      accounts();
    }, READ_MS),
  );
}

/** Read all accounts that are shown. */
export function readAll() {
  for (const person of newest()) readSoon(person.user_id);
}

function newest() {
  return [...state.people.values()].reverse().slice(0, ACCOUNTS_MAX);
}

/** The accounts of those who were seen. */
export function accounts() {
  const rows = newest().map((each) => [
    make("span", {}, each.name, make("span", { class: "second" }, each.email)),
    make("span", { class: "number" }, balance(balances.get(each.user_id))),
  ]);
  const none = nothing("Nobody was seen yet: register somebody.");
  find("accounts", ".scroll").replaceChildren(rows.length ? table("Accounts", ["Who", "Balance"], rows) : none);
}

function balance(cents) {
  if (cents === undefined) return "…";
  return cents === null ? "not open yet" : money(cents);
}

/** The mails, newest first; what is open stays open. */
export function mails() {
  const open = new Set([...document.querySelectorAll("#mailbox details[open]")].map((each) => each.dataset.mail));
  find("mailbox", ".count").textContent = state.mails.length ? `(${state.mails.length})` : "";
  find("mailbox", ".list").replaceChildren(
    ...(state.mails.length ? [] : [nothing("No mail yet: each order ends with one.")]),
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

/** How everybody is, and how much waits for each. */
export function health() {
  const rows = state.health.map((each) => [
    each.name,
    light(each.app === "ready", each.app),
    light(each.sidecar === "up", each.sidecar),
    make("span", { class: "number" }, each.waiting === null ? "unknown" : String(each.waiting)),
  ]);
  const heads = ["Service", "App", "Sidecar", "Waiting"];
  find("health", ".scroll").replaceChildren(
    rows.length ? table("Health and lag of every service", heads, rows) : nothing("Asking everybody."),
  );
}

function light(good, text) {
  return make("span", { class: good ? "good light" : "bad light" }, text);
}

/** What services could not use. */
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
      action(letter, "replay", "Replay", "The event is published again, on its own topic. Who has it already answers as to any repetition."),
      action(letter, "discard", "Discard", "It is listed no more. It can still be shown on the command line."),
    ),
  ]);
  const none = nothing("None: every event could be used.");
  const heads = ["Event", "Reason", "What to do"];
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
  const said = find("dead-letters", ".said");
  said.textContent = `${name}: waiting for the answer`;
  const answer = await post(`/dead-letters/${letter.service}/${letter.id}/${name}`);
  said.textContent = answer.ok ? `${letter.topic} of ${letter.service}: ${answer.body.outcome}` : answer.said;
}

let asked; // what is done if the answer is yes

/** Begin: a dialog that is answered with yes does what was asked about; Escape and Cancel do nothing. */
export function init() {
  find("confirm", "form").addEventListener("submit", (event) => event.submitter?.value === "yes" && asked());
}

function ask(title, text, yes, then) {
  asked = then;
  find("confirm-title").textContent = title;
  find("confirm-text").textContent = text;
  find("confirm-yes").textContent = yes;
  find("confirm").showModal();
}
