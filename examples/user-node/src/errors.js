/** Whose fault it is that an event could not be handled: that alone decides the answer (WIRE.md 9). */

/** A permanent error: it will never get better, so it becomes a dead letter. */
export class PermanentError extends Error {}

/** A transient error: the sidecar, the store or the broker is unreachable; the event comes again. */
export class TransientError extends Error {}
