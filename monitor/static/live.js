// The connection: server-sent events, which the browser takes up again where they broke off.

const KINDS = ["snapshot", "step", "person", "mails", "health", "dead_letters", "tap"];
const AGAIN_MS = 2000; // after the browser itself has given up

/**
 * Listen for ever. `take(kind, body)` gets each notice; `tell(state)` what has become of the connection: "lost",
 * "resumed" (nothing was missed) or "reset" (too much has passed: everything was sent again).
 */
export function listen(take, tell) {
  let last = "";
  let lost = false;
  let begun = false;

  function open() {
    // The browser sends the last id by itself when it comes back, but not when it is we who ask again.
    const source = new EventSource(last ? `/live?last=${encodeURIComponent(last)}` : "/live");
    for (const kind of KINDS) {
      source.addEventListener(kind, (event) => {
        last = event.lastEventId;
        if (lost || (begun && kind === "snapshot")) tell(kind === "snapshot" ? "reset" : "resumed");
        lost = false;
        begun = true;
        take(kind, JSON.parse(event.data));
      });
    }
    source.addEventListener("open", () => {
      // What comes first says whether anything was missed; if nothing comes, nothing was.
      if (lost) setTimeout(() => lost && source.readyState === EventSource.OPEN && ((lost = false), tell("resumed")), 500);
    });
    source.addEventListener("error", () => {
      lost = true;
      tell("lost");
      if (source.readyState === EventSource.CLOSED) setTimeout(open, AGAIN_MS);
    });
  }

  open();
}
