// The three forms: register a user, deposit money, place an order.

import { find, make, money } from "./dom.js";
import { get, post } from "./shop.js";
import { state } from "./state.js";

const NAMES = ["Ada Lovelace", "Grace Hopper", "Barbara Liskov", "Radia Perlman", "Edsger Dijkstra", "Tony Hoare"];
let registered = 0;

/** Set up: suggest values, and handle submissions. */
export function init() {
  suggest();
  onSubmit("register", async (form) => {
    const answer = await post("/api/user/register", { name: form.get("name"), email: form.get("email") });
    if (answer.ok) {
      registered += 1;
      state.people.set(answer.body.user_id, { name: form.get("name"), email: form.get("email"), ...answer.body });
      people(answer.body.user_id);
      suggest();
    }
    return answer;
  });
  onSubmit("deposit", (form) =>
    post("/api/account/deposit", { user_id: form.get("user_id"), amount_cents: cents(form.get("amount")) }),
  );
  onSubmit("order", (form) => order(form, cents(form.get("price"))));
  find("unpayable").addEventListener("click", () =>
    send("order", async (form) => {
      const account = await get(`/api/account/${form.get("user_id")}`);
      return order(form, (account?.balance_cents ?? 0) + 100);
    }),
  );
  people();
}

/** Offer all known users; `chosen` is selected. */
export function people(chosen) {
  for (const id of ["deposit", "order"]) {
    const select = find(id, "select");
    const before = chosen ?? select.value;
    const options = [...state.people.values()].reverse();
    select.replaceChildren(
      ...(options.length ? [] : [make("option", { value: "" }, "register a user first")]),
      ...options.map((each) => make("option", { value: each.user_id }, `${each.name} (${each.email})`)),
    );
    if (state.people.has(before)) select.value = before;
    for (const button of find(id).querySelectorAll("button")) button.disabled = !options.length;
  }
}

function order(form, price) {
  const item = { sku: form.get("sku"), quantity: Number(form.get("quantity")), unit_price_cents: price };
  return post("/api/order/create", { user_id: form.get("user_id"), items: [item] });
}

function suggest() {
  const name = NAMES[(registered + state.people.size) % NAMES.length];
  const unique = Math.random().toString(36).slice(2, 8);
  find("register", "[name=name]").value = name;
  find("register", "[name=email]").value = `${name.split(" ")[0].toLowerCase()}.${unique}@example.com`;
}

/** "12.34" as cents; other text is sent unchanged, so that the shop reports the error. */
function cents(text) {
  const number = Number(String(text).replace(",", "."));
  return Number.isFinite(number) ? Math.round(number * 100) : text;
}

function onSubmit(id, act) {
  find(id).addEventListener("submit", (event) => {
    event.preventDefault();
    send(id, act);
  });
}

async function send(id, act) {
  const form = find(id);
  const output = find(id, "output");
  show(output, "plain", "waiting for the response");
  form.setAttribute("aria-busy", "true");
  const answer = await act(new FormData(form));
  form.removeAttribute("aria-busy");
  const balance = answer.body.balance_cents;
  const more = balance === undefined ? "" : `; balance ${money(balance)}`;
  show(output, answer.status === 201 ? "good" : answer.ok ? "plain" : "bad", answer.message + more);
}

function show(output, kind, text) {
  output.className = kind;
  output.textContent = text;
}
