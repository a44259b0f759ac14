/** Whose fault it is that an event could not be handled: that alone decides the answer (WIRE.md 9). */

/** The event's fault: it will never get better, so it becomes a dead letter. */
export class Refused extends Error {}

/** The world's fault: the sidecar, the store or the broker is away; the event comes again. */
export class Unavailable extends Error {}
