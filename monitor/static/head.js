// The head of the page: what the shop runs on, the tap, the connection, the colours.

import { find, make } from "./dom.js";
import { state } from "./state.js";

const TAP = {
  off: "Not watching",
  opening: "Opening the tap",
  on: "Watching",
  failed: "The tap is broken off",
};
const CONNECTION = {
  lost: "The connection is lost. It is tried again; what passes meanwhile is kept.",
  resumed: "Connected again. Nothing was missed.",
  reset: "Connected again, after too long: what passed meanwhile was not seen.",
};
const THEMES = { "": "as the system", light: "light", dark: "dark" };
const SHOWN_MS = 6000;
let hiding;

/** What the shop runs on, and whether events are seen. */
export function head() {
  const { broker, store, gateway_url: gateway, mail_url: mails } = state.about;
  if (broker) {
    find("about").replaceChildren(
      make("li", {}, "Broker ", make("b", {}, broker)),
      make("li", {}, "Store ", make("b", {}, store)),
      make("li", {}, make("a", { href: `${gateway}/docs` }, "API")),
      ...(mails ? [make("li", {}, make("a", { href: mails }, "Mails"))] : []),
    );
  }
  const tap = find("tap");
  tap.dataset.state = state.tap.state;
  tap.textContent = TAP[state.tap.state] + (state.tap.why ? `: ${state.tap.why}` : "");
}

/** What has become of the connection; good news goes by itself. */
export function connection(now) {
  const banner = find("connection");
  clearTimeout(hiding);
  banner.className = now;
  banner.textContent = CONNECTION[now];
  banner.hidden = false;
  if (now === "resumed") hiding = setTimeout(() => (banner.hidden = true), SHOWN_MS);
}

/** The button that changes the colours: as the system says, light, dark. */
export function themes() {
  const button = find("theme");
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${THEMES[theme]}`;
    localStorage.setItem("theme", theme);
  };
  const kept = localStorage.getItem("theme");
  set(kept in THEMES ? kept : "");
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    set(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
  });
}
