// The connection: server-sent events, which the browser resumes after an interruption.

const KINDS = ["snapshot", "step", "flow", "resource", "mails", "health", "dead_letters", "group_run", "tap"];
const RECONNECT_MS = 2000; // after the browser itself has stopped reconnecting

/**
 * Listen forever. `take(kind, body)` receives each notice, and `report(state)` the state of the
 * connection. The state is "lost", "locked" (the monitor has another key), "resumed" (nothing was
 * missed) or "reset". After "reset" the monitor sent a snapshot, because the ring no longer had the
 * missed notices.
 */
export function listen(take, report) {
  let last = "";
  let lost = false;
  let begun = false;

  function open() {
    // The browser sends the last id when it reconnects by itself, but not with a new EventSource.
    const source = new EventSource(last ? `/live?last=${encodeURIComponent(last)}` : "/live");
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        last = event.lastEventId;
        if (lost || (begun && kind === "snapshot")) report(kind === "snapshot" ? "reset" : "resumed");
        lost = false;
        begun = true;
        take(kind, JSON.parse(event.data));
      });
    }
    source.addEventListener("open", () => {
      // The first notice shows whether any were missed; without a notice, none were.
      if (lost) setTimeout(() => lost && source.readyState === EventSource.OPEN && ((lost = false), report("resumed")), 500);
    });
    source.addEventListener("error", async () => {
      lost = true;
      const closed = source.readyState === EventSource.CLOSED;
      report(closed && (await isLocked()) ? "locked" : "lost");
      if (closed) setTimeout(open, RECONNECT_MS);
    });
  }

  async function isLocked() {
    const answer = await fetch("/live", { method: "HEAD" }).catch(() => undefined); // the monitor does not run
    return answer?.status === 403;
  }

  open();
}
