// The page: notices update the state, and each frame redraws the affected views.

import * as deadLetters from "./dead-letters.js";
import * as documents from "./documents.js";
import * as flows from "./flows.js";
import * as forms from "./forms.js";
import { connection, head, themes } from "./head.js";
import { offer } from "./inputs.js";
import { listen } from "./live.js";
import * as operator from "./operator.js";
import * as panels from "./panels.js";
import { apply, state } from "./state.js";

const VIEWS = {
  head,
  flows: flows.render,
  resources: () => (offer(), panels.values()),
  mails: panels.mails,
  health: panels.health,
  dead_letters: deadLetters.render,
  group_run: deadLetters.run,
};
const AFFECTED_VIEWS = {
  snapshot: Object.keys(VIEWS),
  step: ["flows"],
  flow: ["flows"],
  resource: ["resources"],
  mails: ["mails"],
  health: ["health"],
  dead_letters: ["dead_letters"],
  group_run: ["group_run"],
  tap: ["head"],
};
const PAUSE_MS = 100; // between two redraws; the first happens at once
const stale = new Set();
let drawn = 0;

function take(kind, body) {
  const number = apply(kind, body);
  if (number !== undefined) {
    flows.happened(number, body.step);
    panels.refresh(body.step.name, state.flows.get(number));
  }
  if (kind === "snapshot") panels.readAll();
  if (!stale.size) setTimeout(() => requestAnimationFrame(show), Math.max(0, drawn + PAUSE_MS - performance.now()));
  for (const view of AFFECTED_VIEWS[kind]) stale.add(view);
}

function show() {
  drawn = performance.now();
  const views = [...stale];
  stale.clear();
  for (const view of views) VIEWS[view]();
}

themes();
flows.init();
forms.init();
panels.init();
deadLetters.init();
operator.init();
documents.init();
for (const view of Object.values(VIEWS)) view();
listen(take, connection);
