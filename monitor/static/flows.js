// The list of flows, the one that is shown, and what has just happened.

import { titleOf, wayOf } from "./arrows.js";
import { diagram, tone } from "./diagram.js";
import { clock, find, make } from "./dom.js";
import { inOrder, state } from "./state.js";

const SAY_MS = 900; // a screen reader gets no more than one sentence in so long
let shown;
let fresh = new Set();
let said = 0;
let saying;

/** Begin: arrow keys move through the list, and a choice ends the following of the newest. */
export function init() {
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

/** Note what a notice was about, so that it moves in and is said. */
export function happened(number, step) {
  const flow = state.flows.get(number);
  if (find("follow").checked && number !== shown && number >= Math.max(...state.flows.keys())) choose(number);
  if (number === shown) fresh.add(step.number);
  say(`${titleOf(step)}: ${flow.title}${step.note ? `, ${step.note}` : ""}`);
}

/** Show a flow. */
function choose(number) {
  shown = number;
  fresh = new Set();
}

/** Show what there is now. */
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
          make("span", { class: "when" }, flow.steps.length ? clock(inOrder(flow)[0].at) : ""),
          make("span", { class: "title" }, flow.title),
          make("span", { class: `outcome ${outcome(flow)}` }, flow.outcome),
        ),
      ),
    ),
  );
  if (focused) find("flows").querySelector(`[data-flow="${focused}"]`)?.focus({ preventScroll: true });
}

function outcome(flow) {
  if (/^(paid|registered|paid in)$/.test(flow.outcome)) return "good";
  return /not paid|refused/.test(flow.outcome) ? "bad" : "plain";
}

function one(flow) {
  for (const id of ["legend", "timeline-title"]) find(id).hidden = !flow;
  if (!flow) {
    find("diagram").replaceChildren();
    find("timeline").replaceChildren();
    return;
  }
  const steps = inOrder(flow);
  find("flow-title").textContent = flow.title;
  find("flow-outcome").className = `outcome ${outcome(flow)}`;
  find("flow-outcome").textContent = flow.outcome + (flow.subject ? `, ${flow.kind} ${flow.subject}` : "");
  find("diagram").replaceChildren(diagram(flow, fresh, find("flow").clientWidth));
  find("timeline").replaceChildren(
    ...steps.map((step) =>
      make(
        "li",
        { class: tone(step) },
        make("span", { class: "when" }, `+${Math.max(0, step.at - steps[0].at)} ms`),
        make("strong", {}, titleOf(step)),
        make("span", { class: "way" }, wayOf(step)),
        make("span", { class: "note" }, step.note + (step.times > 1 ? ` (passed ${step.times} times)` : "")),
      ),
    ),
  );
}

/** Say what has just happened, the last of it, not too often. */
function say(text) {
  clearTimeout(saying);
  const wait = Math.max(0, said + SAY_MS - Date.now());
  saying = setTimeout(() => {
    said = Date.now();
    find("news").textContent = text;
  }, wait);
}

