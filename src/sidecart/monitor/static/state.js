// The state of the page, and how notices change it.

const FLOWS_MAX = 100;
const MAILS_MAX = 50;

export const state = {
  about: {},
  flows: new Map(),
  people: new Map(),
  mails: [],
  health: [],
  dead_letters: { total: 0, newest: [] },
  tap: { state: "off", why: "" },
};

/** Apply a notice; returns the number of its flow, or undefined without one. */
export function apply(kind, body) {
  switch (kind) {
    case "snapshot":
      Object.assign(state, body);
      state.flows = new Map(body.flows.map((flow) => [flow.number, flow]));
      state.people = new Map(body.people.map((person) => [person.user_id, person]));
      return undefined;
    case "step":
      return step(body.flow, body.step);
    case "person":
      state.people.set(body.user_id, body);
      return undefined;
    case "mails":
      state.mails = [...state.mails, ...body].slice(-MAILS_MAX);
      return undefined;
    default:
      state[kind] = body;
      return undefined;
  }
}

function step(head, one) {
  const known = state.flows.get(head.number);
  const steps = (known ? known.steps : []).filter((each) => each.number !== one.number);
  state.flows.set(head.number, { ...head, steps: [...steps, one] });
  while (state.flows.size > FLOWS_MAX) state.flows.delete(Math.min(...state.flows.keys()));
  return head.number;
}

/** The steps of a flow in the order in which they happened, which may differ from their arrival. */
export function inOrder(flow) {
  return [...flow.steps].sort((one, other) => one.at - other.at || one.rank - other.rank || one.number - other.number);
}
