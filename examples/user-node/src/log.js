/** The log: one line of JSON for each thing that somebody should look at; no personal data. */

// Who reads the log may go away; the service stays.
process.stderr.on("error", () => {});

/**
 * Writes one line.
 * @param {"info" | "warning" | "error"} level
 * @param {string} message
 * @param {Record<string, unknown>} [fields]
 */
export function log(level, message, fields = {}) {
  process.stderr.write(`${JSON.stringify({ time: new Date().toISOString(), level, message, ...fields })}\n`);
}
