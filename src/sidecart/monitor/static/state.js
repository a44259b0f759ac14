// The state of the page, and how notices change it.

const FLOWS_MAX = 100;
const MAILS_MAX = 50;

export const state = {
  about: {},
  flows: new Map(),
  resources: new Map(), // by the name of their id, then by id
  mails: [],
  health: [],
  dead_letters: { total: 0, newest: [], groups: [], more: 0 },
  group_run: null,
  tap: { state: "off", why: "" },
};

/** Apply a notice; returns the number of its flow, or undefined without one. */
export function apply(kind, body) {
  switch (kind) {
    case "snapshot":
      Object.assign(state, body);
      state.flows = new Map(body.flows.map((flow) => [flow.number, flow]));
      state.resources = new Map();
      for (const each of body.resources) resource(each);
      return undefined;
    case "step":
      return step(body.flow, body.step);
    case "flow":
      if (state.flows.has(body.number)) state.flows.set(body.number, { ...body, steps: state.flows.get(body.number).steps });
      return undefined;
    case "resource":
      resource(body);
      return undefined;
    case "mails":
      state.mails = [...state.mails, ...body].slice(-MAILS_MAX);
      return undefined;
    default:
      state[kind] = body;
      return undefined;
  }
}

function resource(one) {
  if (!state.resources.has(one.kind)) state.resources.set(one.kind, new Map());
  state.resources.get(one.kind).set(one.id, one);
}

function step(head, one) {
  const known = state.flows.get(head.number);
  const steps = (known ? known.steps : []).filter((each) => each.number !== one.number);
  state.flows.set(head.number, { ...head, steps: [...steps, one] });
  while (state.flows.size > FLOWS_MAX) state.flows.delete(Math.min(...state.flows.keys()));
  return head.number;
}

/** The steps of a flow as they happened, which may differ from how they arrived. */
export function byTime(flow) {
  return [...flow.steps].sort((one, other) => one.at - other.at || one.rank - other.rank || one.number - other.number);
}
