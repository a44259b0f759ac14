// The arrows of each step, between the lifelines of the topology.

import { page } from "./page.js";

export const LIFELINES = page.lifelines.map((each) => [each.key, each.title]);
export const NAMES = Object.fromEntries(LIFELINES);

/** The arrows of a step; `seen` is false for an arrow that comes from the topic list. */
export function arrowsOf(step) {
  const base = { step: step.number };
  switch (step.kind) {
    case "event":
      return [
        { ...base, from: step.source, to: "broker", label: step.name, seen: true, heads: true },
        ...step.targets.flatMap((target) => {
          const action = page.actions[step.name]?.[target]; // the consumer's own, apart from events
          return [
            { ...base, from: "broker", to: target, label: "", about: step.name, seen: false },
            ...(action ? [{ ...base, from: target, to: target, label: action, about: step.name, seen: false }] : []),
          ];
        }),
      ];
    default:
      return [{ ...base, from: step.source, to: step.targets[0], label: titleOf(step), seen: true, heads: true }];
  }
}

/** The step's title in the timeline. */
export function titleOf(step) {
  return step.kind === "mail" ? page.mail.label : step.name;
}

/** The step's sender and receivers, for the timeline. */
export function routeOf(step) {
  const from = NAMES[step.source] ?? step.source;
  const to = step.targets.map((target) => NAMES[target] ?? target);
  return `${from} to ${to.length ? to.join(", ") : "no consumer"}`;
}
