// The sequence diagram of one flow, as a drawing.

import { arrowsOf, LIFELINES, NAMES } from "./arrows.js";
import { draw } from "./dom.js";
import { inOrder } from "./state.js";

const GAP = 124;
const HEAD = 46;
const SEEN_HEIGHT = 36;
const KNOWN_HEIGHT = 18;
const SELF_HEIGHT = 30;
const TIP = 7;
const WIDTH = GAP * LIFELINES.length;
const X = Object.fromEntries(LIFELINES.map(([key], place) => [key, GAP * (place + 0.5)]));

/** Draw it; steps whose number is in `fresh` move in. */
export function diagram(flow, fresh) {
  const steps = inOrder(flow);
  const began = steps[0]?.at ?? 0;
  const parts = [];
  let y = HEAD + 4;
  for (const step of steps) {
    const marks = { class: fresh.has(step.number) ? "step fresh" : "step" };
    const group = draw("g", marks);
    for (const arrow of arrowsOf(step)) {
      y += arrow.from === arrow.to ? SELF_HEIGHT : arrow.seen ? SEEN_HEIGHT : KNOWN_HEIGHT;
      group.append(arrowAt(arrow, y, step, began));
    }
    parts.push(group);
  }
  const height = y + 24;
  return draw(
    "svg",
    {
      viewBox: `0 0 ${WIDTH} ${height}`,
      role: "img",
      "aria-label": `${flow.title}: ${steps.length} steps; the timeline below says the same in words`,
    },
    ...LIFELINES.map(([key, name]) => lifeline(key, name, height)),
    ...parts,
  );
}

function lifeline(key, name, height) {
  const words = name.split(" ");
  return draw(
    "g",
    { class: "lifeline", "data-name": name },
    draw("line", { x1: X[key], x2: X[key], y1: HEAD, y2: height - 6 }),
    draw("rect", { x: X[key] - 56, y: 4, width: 112, height: HEAD - 8, rx: 6 }),
    ...words.map((word, place) =>
      draw("text", { x: X[key], y: HEAD / 2 + 4 + (place - (words.length - 1) / 2) * 14 }, word),
    ),
  );
}

function arrowAt(arrow, y, step, began) {
  const attributes = {
    class: `arrow ${arrow.seen ? "seen" : "known"} ${step.kind} ${tone(step)}`,
    "data-from": NAMES[arrow.from],
    "data-to": NAMES[arrow.to],
    "data-label": arrow.label || arrow.about,
  };
  const from = X[arrow.from];
  const to = X[arrow.to];
  if (from === to) {
    const path = `M${from} ${y - 18}h26v14h-${26 - TIP}`;
    return draw("g", attributes, draw("path", { d: path }), tip(from, y - 4, -1), label(from + 32, y - 7, arrow.label, "start"));
  }
  const way = Math.sign(to - from);
  return draw(
    "g",
    attributes,
    draw("path", { d: `M${from} ${y}H${to - way * TIP}` }),
    tip(to, y, way),
    arrow.heads ? label((from + to) / 2, y - 7, spoken(arrow, step, began), "middle") : null,
  );
}

function spoken(arrow, step, began) {
  const repeated = step.times > 1 ? `, ${step.times} times` : "";
  return `${arrow.label} +${Math.max(0, step.at - began)} ms${repeated}`;
}

function tip(x, y, way) {
  return draw("path", { class: "tip", d: `M${x} ${y}l${-way * TIP - way} -4v8z` });
}

function label(x, y, text, anchor) {
  return draw("text", { x, y, "text-anchor": anchor }, text);
}

/** Good news, bad news or neither; the words say it too. */
export function tone(step) {
  if (/Failed$|NotPaid$|Rejected$/.test(step.name) || /^[45]\d\d /.test(step.name)) return "bad";
  return /^(OrderPaid|OrderPaymentCreated)$/.test(step.name) ? "good" : "plain";
}
