// The arrows of each step, with the names of the shop's sequence diagram.

export const LIFELINES = [
  ["client", "User"],
  ["gateway", "Gateway"],
  ["broker", "Message Broker"],
  ["user", "User Service"],
  ["billing", "Billing Service"],
  ["order", "Order Service"],
  ["notification", "Notification Service"],
  ["mail", "Mail"],
];
export const NAMES = Object.fromEntries(LIFELINES);

// A consumer's own actions, apart from the events that it publishes.
const LOCAL_ACTIONS = {
  UserCreated: { notification: "Save user info" },
  OrderCreated: { notification: "Save order info" },
};

/** The arrows of a step; `seen` is false for an arrow that comes from the topic list. */
export function arrowsOf(step) {
  const base = { step: step.number };
  switch (step.kind) {
    case "event":
      return [
        { ...base, from: step.source, to: "broker", label: step.name, seen: true, heads: true },
        ...step.targets.flatMap((target) => {
          const action = LOCAL_ACTIONS[step.name]?.[target];
          return [
            { ...base, from: "broker", to: target, label: "", about: step.name, seen: false },
            ...(action ? [{ ...base, from: target, to: target, label: action, about: step.name, seen: false }] : []),
          ];
        }),
      ];
    case "mail":
      return [{ ...base, from: step.source, to: "mail", label: "Send email", seen: true, heads: true }];
    default:
      return [{ ...base, from: step.source, to: step.targets[0], label: step.name, seen: true, heads: true }];
  }
}

/** The step's title in the timeline. */
export function titleOf(step) {
  return step.kind === "mail" ? "Send email" : step.name;
}

/** The step's sender and receivers, for the timeline. */
export function routeOf(step) {
  const from = NAMES[step.source] ?? step.source;
  const to = step.targets.map((target) => NAMES[target] ?? target);
  return `${from} to ${to.length ? to.join(", ") : "no consumer"}`;
}
