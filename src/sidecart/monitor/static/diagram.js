// Draw the sequence diagram of one flow as SVG.

import { arrowsOf, LIFELINES, NAMES } from "./arrows.js";
import { draw } from "./dom.js";
import { byTime } from "./state.js";

const SEEN_HEIGHT = 36;
const KNOWN_HEIGHT = 18;
const SELF_HEIGHT = 30;
const TIP = 7;
const NARROW = 860; // pixels: below it, names are vertical and the diagram fills the width
const WIDE = { width: 992, head: 46, character: 7, narrow: false };

/** The layout for a width in pixels. */
function shape(room) {
  const form = room < NARROW ? { width: Math.max(room, 290), head: 132, character: 6, narrow: true } : { ...WIDE };
  form.gap = form.width / LIFELINES.length;
  form.x = Object.fromEntries(LIFELINES.map(([key], place) => [key, form.gap * (place + 0.5)]));
  return form;
}

/** Draw a flow for a width in pixels; steps whose number is in `fresh` are animated. */
export function diagram(flow, fresh, room) {
  const form = shape(room);
  const steps = byTime(flow);
  const began = steps[0]?.at ?? 0;
  const parts = [];
  let y = form.head + 4;
  for (const step of steps) {
    const marks = { class: fresh.has(step.number) ? "step fresh" : "step" };
    const group = draw("g", marks);
    for (const arrow of arrowsOf(step)) {
      y += arrow.from === arrow.to ? SELF_HEIGHT : arrow.seen ? SEEN_HEIGHT : KNOWN_HEIGHT;
      group.append(arrowAt(form, arrow, y, step, began));
    }
    parts.push(group);
  }
  const height = y + 24;
  return draw(
    "svg",
    {
      viewBox: `0 0 ${form.width} ${height}`,
      class: form.narrow ? "narrow" : "wide",
      role: "img",
      "aria-label": `${flow.title}: ${steps.length} steps; the timeline below lists them as text`,
    },
    ...LIFELINES.map(([key, name]) => lifeline(form, key, name, height)),
    ...parts,
  );
}

function lifeline(form, key, name, height) {
  const x = form.x[key];
  const half = form.narrow ? Math.min(13, form.gap / 2 - 2) : Math.min(56, form.gap / 2 - 4);
  const words = name.split(" ");
  return draw(
    "g",
    { class: "lifeline", "data-name": name },
    draw("line", { x1: x, x2: x, y1: form.head, y2: height - 6 }),
    draw("rect", { x: x - half, y: 4, width: 2 * half, height: form.head - 8, rx: 6 }),
    ...(form.narrow
      ? [draw("text", { transform: `translate(${x + 4} ${form.head / 2}) rotate(-90)` }, name)]
      : words.map((word, place) =>
          draw("text", { x, y: form.head / 2 + 4 + (place - (words.length - 1) / 2) * 14 }, word),
        )),
  );
}

function arrowAt(form, arrow, y, step, began) {
  const attributes = {
    class: `arrow ${arrow.seen ? "seen" : "known"} ${step.kind} ${step.tone}`,
    "data-from": NAMES[arrow.from],
    "data-to": NAMES[arrow.to],
    "data-label": arrow.label || arrow.about,
  };
  const from = form.x[arrow.from];
  const to = form.x[arrow.to];
  if (from === to) {
    const path = `M${from} ${y - 18}h26v14h-${26 - TIP}`;
    const words = form.narrow ? label(form, from - 8, y - 7, arrow.label, "end") : label(form, from + 32, y - 7, arrow.label, "start");
    return draw("g", attributes, draw("path", { d: path }), tip(from, y - 4, -1), words);
  }
  const way = Math.sign(to - from);
  return draw(
    "g",
    attributes,
    draw("path", { d: `M${from} ${y}H${to - way * TIP}` }),
    tip(to, y, way),
    arrow.heads ? label(form, (from + to) / 2, y - 7, spoken(arrow, step, began), "middle") : null,
  );
}

function spoken(arrow, step, began) {
  const repeated = step.times > 1 ? `, ${step.times} times` : "";
  return `${arrow.label} +${Math.max(0, step.at - began)} ms${repeated}`;
}

function tip(x, y, way) {
  return draw("path", { class: "tip", d: `M${x} ${y}l${-way * TIP - way} -4v8z` });
}

function label(form, x, y, text, anchor) {
  const half = (text.length * form.character) / 2 + 2;
  const inside = anchor === "middle" ? Math.min(Math.max(x, half), form.width - half) : x;
  return draw("text", { x: inside, y, "text-anchor": anchor, class: anchor }, text);
}
