// The list of flows, the selected flow, and announcements for screen readers.

import { routeOf, titleOf } from "./arrows.js";
import { diagram } from "./diagram.js";
import { clock, find, make, plural } from "./dom.js";
import { page } from "./page.js";
import { byTime, state } from "./state.js";

const ANNOUNCE_MS = 900; // the shortest time between two announcements
const OTHER = "other"; // the kind of a flow whose command was not seen
let shown;
let fresh = new Set();
let announcedAt = 0;
let announcing;

/** Set up: arrow keys walk the list, and selecting a flow stops following the newest one. */
export function init() {
  find("flow-outcome").textContent = page.none;
  find("flows").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const buttons = [...find("flows").querySelectorAll("button")];
    const next = buttons[buttons.indexOf(document.activeElement) + step];
    if (next) {
      event.preventDefault();
      next.click();
      find("flows").querySelector("[aria-current]")?.focus();
    }
  });
  find("follow").addEventListener("change", render);
  window.addEventListener("resize", render);
}

/** Handle a new step: animate it and announce it. */
export function happened(number, step) {
  const flow = state.flows.get(number);
  if (find("follow").checked && number !== shown && number >= Math.max(...state.flows.keys())) choose(number);
  if (number === shown) fresh.add(step.number);
  announce(`${titleOf(step)}: ${flow.title}${step.note ? `, ${step.note}` : ""}`);
}

/** Select a flow. */
function choose(number) {
  shown = number;
  fresh = new Set();
}

/** Show the current state. */
export function render() {
  if (!state.flows.has(shown) || (find("follow").checked && shown === undefined)) {
    choose(state.flows.size ? Math.max(...state.flows.keys()) : undefined);
  }
  list();
  one(state.flows.get(shown));
  fresh = new Set();
}

function list() {
  const focused = document.activeElement?.dataset?.flow;
  const items = [...state.flows.values()].sort((a, b) => b.number - a.number);
  find("flows").replaceChildren(
    ...items.map((flow) =>
      make(
        "li",
        {},
        make(
          "button",
          {
            type: "button",
            class: "flow",
            "data-flow": flow.number,
            "aria-current": flow.number === shown ? "true" : undefined,
            tabindex: flow.number === shown ? 0 : -1,
            onclick: () => {
              find("follow").checked = false;
              choose(flow.number);
              render();
            },
          },
          make("span", { class: "when" }, clock(flow.began_at)),
          make("span", { class: "title" }, flow.title),
          make("span", { class: `outcome ${toneOf(flow)}` }, outcomeOf(flow)),
        ),
      ),
    ),
  );
  if (focused) find("flows").querySelector(`[data-flow="${focused}"]`)?.focus({ preventScroll: true });
}

function one(flow) {
  for (const id of ["legend", "timeline-title"]) find(id).hidden = !flow;
  if (!flow) {
    find("diagram").replaceChildren();
    find("timeline").replaceChildren();
    return;
  }
  const steps = byTime(flow);
  find("flow-title").textContent = flow.title;
  find("flow-outcome").className = `outcome ${toneOf(flow)}`;
  find("flow-outcome").textContent = outcomeOf(flow) + (flow.subject ? `, ${flow.kind === OTHER ? "" : `${flow.kind} `}${flow.subject}` : "");
  find("diagram").replaceChildren(diagram(flow, fresh, find("flow").clientWidth));
  find("timeline").replaceChildren(
    ...steps.map((step) =>
      make(
        "li",
        { class: flow.dead_steps.includes(step.number) ? "bad" : step.tone },
        make("span", { class: "when" }, `+${Math.max(0, step.at - steps[0].at)} ms`),
        make("strong", {}, titleOf(step)),
        make("span", { class: "route" }, routeOf(step)),
        make("span", { class: "note" }, noteOf(flow, step)),
      ),
    ),
  );
}

/** The state of a flow in words. */
function outcomeOf(flow) {
  return flow.dead_steps.length ? plural(flow.dead_steps.length, "dead letter") : flow.outcome;
}

function toneOf(flow) {
  return flow.dead_steps.length ? "bad" : flow.tone;
}

function noteOf(flow, step) {
  const more = [
    ...(step.times > 1 ? [`seen ${step.times} times`] : []),
    ...(flow.dead_steps.includes(step.number) ? ["a dead letter"] : []),
  ];
  return step.note + (more.length ? ` (${more.join(", ")})` : "");
}

/** Announce the latest step to screen readers, at most once per ANNOUNCE_MS. */
function announce(text) {
  clearTimeout(announcing);
  const wait = Math.max(0, announcedAt + ANNOUNCE_MS - Date.now());
  announcing = setTimeout(() => {
    announcedAt = Date.now();
    find("news").textContent = text;
  }, wait);
}

