/** Writes the log: one line of JSON per event that needs attention, without personal data. */

// The service keeps running when the reader of the log closes the pipe.
process.stderr.on("error", () => {});

/** The number of lines of one kind that are written per window; the rest is counted. */
export const FIRST = 10;
export const WINDOW_MS = 10_000;
/** The number of open windows; a further kind closes the oldest window early. */
const KINDS_MAX = 200;

/** @typedef {{level: string, message: string, seen: number, ends: NodeJS.Timeout}} Window */
/** @type {Map<string, Window>} */
const windows = new Map();

process.on("exit", () => {
  for (const kind of [...windows.keys()]) close(kind);
});

/**
 * Writes a line or counts it. Repetitions of a message and reason give a few lines and a count.
 * @param {"info" | "warning" | "error"} level
 * @param {string} message
 * @param {Record<string, unknown>} [fields]
 */
export function log(level, message, fields = {}) {
  const kind = `${level} ${message} ${fields.reason ?? fields.error ?? ""}`.slice(0, 300);
  let window = windows.get(kind);
  if (window === undefined) {
    const [oldest] = windows.keys();
    if (windows.size >= KINDS_MAX && oldest !== undefined) close(oldest);
    window = { level, message, seen: 0, ends: setTimeout(close, WINDOW_MS, kind).unref() };
    windows.set(kind, window);
  }
  window.seen += 1;
  if (window.seen <= FIRST) write(level, message, fields);
}

/** Closes a window and writes the number of its suppressed lines. @param {string} kind */
function close(kind) {
  const window = windows.get(kind);
  if (window === undefined) return;
  windows.delete(kind);
  clearTimeout(window.ends);
  if (window.seen > FIRST) write(window.level, window.message, { repeated: window.seen - FIRST, kind });
}

/** @param {string} level @param {string} message @param {Record<string, unknown>} fields */
function write(level, message, fields) {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })}\n`);
}
