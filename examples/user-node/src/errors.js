/** The two kinds of errors. The kind alone decides the response to a delivery (WIRE.md 9). */

/** The event fails at every attempt, so the service stores it as a dead letter. */
export class PermanentError extends Error {}

/** The sidecar, the store or the broker is unreachable; the sidecar delivers the event again. */
export class TransientError extends Error {}
