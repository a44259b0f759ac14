"""The deliveries of a sidecar: the events of the subscribed topics.

Each event ends as handled, as a dead letter or as a redelivery. This holds for both ways to this
module: through ASGI (`InboundApp`) and from the HTTP parser (`DirectHttp`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import Counter

from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.errors import PermanentError, TransientError, WriteRefused
from sidecart.chassis.events import delivered
from sidecart.chassis.store_health import StoreHealth
from sidecart.chassis.telemetry import metrics, request_context, tracing
from sidecart.chassis.telemetry.metrics import AGAIN, BUG, DEAD, DONE, OTHER
from sidecart.chassis.telemetry.request_context import RequestContext

log = logging.getLogger(__name__)

EVENTS = "/events/"
STATUS = {DONE: 200, DEAD: 200, AGAIN: 500, BUG: 500}
REDELIVERED = STATUS[AGAIN]

Handler = Callable[[bytes], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]  # names in lower case


@dataclass(frozen=True, slots=True)
class Subscription:
    """One topic of one pub/sub component, and the handler of its events.

    While `store` refuses writes, each event is returned at once, and the sidecar redelivers it a
    second later. In that time the app sends, publishes and mails nothing whose result it could not
    record.
    """

    component: str
    topic: str
    handle: Handler
    store: StoreHealth | None = None

    @property
    def path(self) -> str:
        """Return the route that the sidecar delivers to: the SDK's default."""
        return f"{EVENTS}{self.component}/{self.topic}"


class Deliveries:
    """Processes the deliveries to one app."""

    def __init__(self) -> None:
        self._subscriptions: dict[str, tuple[Subscription, Mapping[str, Counter]]] = {}
        self._unrouted_outcomes = metrics.outcomes(OTHER)
        self._dead_letters: DeadLetters | None = None

    def subscribe(self, subscriptions: Sequence[Subscription], dead_letters: DeadLetters | None) -> None:
        """Register the handlers.

        A permanent error becomes a dead letter, a transient one a redelivery. Without
        `dead_letters` a permanent error is only logged.
        """
        self._dead_letters = dead_letters
        for subscription in subscriptions:
            self._subscriptions[subscription.path] = subscription, metrics.outcomes(subscription.topic)

    def is_subscribed(self, path: str) -> bool:
        """Return whether the events of a topic are delivered to exactly this path."""
        return path in self._subscriptions

    async def process(self, path: str, headers: Headers, body: bytes) -> int:
        """Process one delivery in its own request context; return the status of its empty response.

        It sets the context of the current task.
        """
        context = request_context.start(headers)
        try:
            return STATUS[await self._process(context, path, body)]
        finally:
            context.release()

    async def _process(self, context: RequestContext, path: str, body: bytes) -> str:
        subscription, outcomes = self._subscriptions.get(path, (None, self._unrouted_outcomes))
        if subscription is None:  # not 404: the sidecar would drop the event
            log.error("no subscription for %s", path[:200])
            outcome = AGAIN
        else:
            context.topic, context.body = subscription.topic, delivered(body)
            if (spans := tracing.spans) is None:
                outcome = await self._outcome(context, subscription, context.body)
            else:
                with spans.event(context):
                    outcome = await self._outcome(context, subscription, context.body)
                    spans.set_outcome(context, outcome)
        outcomes[outcome].inc()
        return outcome

    async def _outcome(self, context: RequestContext, subscription: Subscription, body: bytes) -> str:
        try:
            try:
                if subscription.store is not None and subscription.store.write_refusal:
                    raise WriteRefused(subscription.store.problem)
                await subscription.handle(body)
            except PermanentError as fault:
                # Only the dead letter has the reason: it may quote any text of the event.
                if self._dead_letters is not None:
                    await self._dead_letters.write(subscription.topic, body, fault.reason, context.traceparent)
                ending = "dropped" if self._dead_letters is None else "dead letter"
                log.error("%s from %s: %s", ending, subscription.topic, fault)
                return DEAD
        except TransientError as fault:
            log.warning("%s will be redelivered: %s", subscription.topic, fault)
            return AGAIN
        except Exception:
            log.exception("unexpected exception; the %s event will be redelivered", subscription.topic)
            return BUG
        return DONE
