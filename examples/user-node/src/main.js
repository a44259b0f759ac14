/** The wiring of the User Service. */

import { closeServer, createServer } from "./server.js";
import { DeadLetters } from "./deadletters.js";
import { eventProcessor } from "./processor.js";
import { domain, erasures, inputs, personal, publishers, userKey } from "./domain.js";
import { KeyedHash } from "./keyed-hash.js";
import { log } from "./log.js";
import { Probe } from "./probe.js";
import { readSettings, SettingsError } from "./settings.js";
import { Sidecar } from "./sidecar.js";

const NAME = "user";
const GRACE_MS = 15_000; // the time for active requests after SIGTERM

/** @param {import("./settings.js").Settings} settings */
function start(settings) {
  const sidecar = new Sidecar({ host: settings.sidecarHost, port: settings.sidecarPort, token: settings.sidecarToken });
  const probe = new Probe(NAME, sidecar);
  const hash = new KeyedHash(sidecar);
  const processEvent = eventProcessor({ name: NAME, ...domain((text) => hash.of(text)) }, sidecar);
  const server = createServer({
    token: settings.appToken,
    inputs,
    publishers,
    // The service starts before its sidecar, so it loads the secret with the first event.
    processEvent: async (event) => {
      await hash.load();
      await processEvent(event);
    },
    erasures,
    personal,
    userKey,
    sidecar,
    deadLetters: new DeadLetters(sidecar),
    probe,
  });
  const stopped = new AbortController();

  const stop = async () => {
    if (stopped.signal.aborted) return;
    stopped.abort();
    await closeServer(server, GRACE_MS);
    process.exit(0);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);

  server.on("error", (error) => {
    log("error", `APP_PORT: cannot listen: ${error.message}`);
    process.exit(1);
  });
  server.listen(settings.port, settings.host, () => {
    log("info", "listening", { host: settings.host, port: settings.port });
    probe.run(stopped.signal);
    sidecar.watchStore(stopped.signal);
  });
}

try {
  start(readSettings(process.env));
} catch (error) {
  if (!(error instanceof SettingsError)) throw error;
  for (const line of error.message.split("\n")) log("error", line);
  process.exitCode = 1;
}
