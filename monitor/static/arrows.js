// What is drawn for each step: the names and the arrows of the sequence diagram of the shop.

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

// What a consumer does with an event besides publishing others.
const DONE = {
  UserCreated: { notification: "Save user info" },
  OrderCreated: { notification: "Save order info" },
};

/** The arrows of one step: from, to, label, and whether it was seen or is known from the topic list. */
export function arrowsOf(step) {
  const base = { step: step.number };
  switch (step.kind) {
    case "event":
      return [
        { ...base, from: step.source, to: "broker", label: step.name, seen: true, heads: true },
        ...step.targets.flatMap((target) => {
          const done = DONE[step.name]?.[target];
          return [
            { ...base, from: "broker", to: target, label: "", about: step.name, seen: false },
            ...(done ? [{ ...base, from: target, to: target, label: done, about: step.name, seen: false }] : []),
          ];
        }),
      ];
    case "mail":
      return [{ ...base, from: step.source, to: "mail", label: "Send email", seen: true, heads: true }];
    default:
      return [{ ...base, from: step.source, to: step.targets[0], label: step.name, seen: true, heads: true }];
  }
}

/** What a step is called in the timeline. */
export function titleOf(step) {
  return step.kind === "mail" ? "Send email" : step.name;
}

/** From whom to whom a step goes, for the timeline. */
export function wayOf(step) {
  const from = NAMES[step.source] ?? step.source;
  const to = step.targets.map((target) => NAMES[target] ?? target);
  return `${from} to ${to.length ? to.join(", ") : "whoever asks"}`;
}
