// The page's header: broker and store, the tap, the connection and the color theme.

import { find, make } from "./dom.js";
import { state } from "./state.js";

const TAP = {
  off: "Not watching",
  opening: "Opening the tap",
  on: "Watching",
  failed: "The tap failed",
};
const CONNECTION = {
  lost: "The connection is lost. The page reconnects; the monitor buffers events meanwhile.",
  locked: "The system was started again with a new key. Open the address that the launcher printed.",
  resumed: "Reconnected. Nothing was missed.",
  reset: "Reconnected too late: the events in between are missing.",
};
const THEMES = { "": "system", light: "light", dark: "dark" };
const SHOWN_MS = 6000;
let hiding;

/** Show broker, store and links, and the state of the tap. */
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

/** Show the state of the connection; the message of a resumed one disappears after SHOWN_MS. */
export function connection(now) {
  const banner = find("connection");
  clearTimeout(hiding);
  banner.className = now;
  banner.textContent = CONNECTION[now];
  banner.hidden = false;
  if (now === "resumed") hiding = setTimeout(() => (banner.hidden = true), SHOWN_MS);
}

/** Set up the button that switches the theme: system, light, dark. */
export function themes() {
  const button = find("theme");
  const set = (theme) => {
    document.documentElement.dataset.theme = theme;
    button.textContent = `Theme: ${THEMES[theme]}`;
    localStorage.setItem("theme", theme);
  };
  const stored = localStorage.getItem("theme");
  set(stored in THEMES ? stored : "");
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    set(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
  });
}
