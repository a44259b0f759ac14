"""Pub/sub on RabbitMQ: components-contrib 1.18.3, pubsub/rabbitmq/metadata.go (the defaults) and rabbitmq.go."""

from collections.abc import Iterator

from cli.doctor.dapr_values import number, signed, truthy
from cli.doctor.findings import Severity, Violation
from cli.doctor.resources import Component
from cli.doctor.sidecar_config import SidecarConfig

PREFETCH_MAX = 255
"""It is read into a Go uint8."""
EXCHANGE_KINDS = ("fanout", "topic", "direct", "headers")


def _setting(name: str, value: str) -> str:
    return f'- {{name: {name}, value: "{value}"}}'


def not_durable(config: SidecarConfig) -> Iterator[Violation]:
    """The default is true (its metadata.yaml says false)."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_false("durable", default="true"):
            what = "exchanges and queues end with the broker: a restart loses what is in them"
            yield Violation(each.place_of("durable"), what, _setting("durable", "true"))


def auto_delete(config: SidecarConfig) -> Iterator[Violation]:
    """The default is true."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_true("deletedWhenUnused", default="true"):
            what = "a queue is deleted, with what is in it, when its last reader is gone: at every restart of a service"
            yield Violation(each.place_of("deletedWhenUnused"), what, _setting("deletedWhenUnused", "false"))


def not_persistent(config: SidecarConfig) -> Iterator[Violation]:
    """The default is 0."""
    for each in config.pubsubs("rabbitmq"):
        mode = number(each.value("deliveryMode", "0") or "")
        if each.is_published_to and mode is not None and mode < 2:
            what = "events are published as transient: a restart of the broker loses them, also in durable queues"
            yield Violation(each.place_of("deliveryMode"), what, _setting("deliveryMode", "2"))


def no_confirm(config: SidecarConfig) -> Iterator[Violation]:
    """The default is false."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_published_to and each.is_false("publisherConfirm"):
            what = (
                "a publish succeeds when it is written to the socket: one that the broker never got is lost in silence"
            )
            yield Violation(each.place_of("publisherConfirm"), what, _setting("publisherConfirm", "true"))


def no_requeue(config: SidecarConfig) -> Iterator[Violation]:
    """The default is false: `d.Nack(false, false)`."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and each.is_false("requeueInFailure") and each.is_false("enableDeadLetter"):
            what = "an event that is refused, or under way when its sidecar stops, is thrown away by the broker"
            yield Violation(each.place_of("requeueInFailure"), what, _setting("requeueInFailure", "true"))


def auto_ack(config: SidecarConfig) -> Iterator[Violation]:
    """The broker forgets an event as soon as it is sent."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and each.is_true("autoAck"):
            what = "an event is gone from the broker when it is sent: one that a sidecar or an app dies on is lost"
            yield Violation(each.place_of("autoAck"), what, _setting("autoAck", "false"))


def no_prefetch(config: SidecarConfig) -> Iterator[Violation]:
    """The default is 0: no limit."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and number(each.value("prefetchCount", "0") or "") == 0:
            what = "the broker sends a sidecar the whole queue at once: after an outage, more than app and memory take"
            yield Violation(each.place_of("prefetchCount"), what, _setting("prefetchCount", "32"))


def value_unreadable(config: SidecarConfig) -> Iterator[Violation]:
    """Values that the component refuses: the sidecar ends at its start."""
    for each in config.pubsubs("rabbitmq"):
        for name, most, better in (("prefetchCount", PREFETCH_MAX, "32"), ("deliveryMode", 2, "2")):
            value = each.value(name)
            if value and ((found := number(value)) is None or found > most):
                what = f"`{value}` is no number from 0 to {most}: the sidecar ends at its start"
                yield Violation(each.place_of(name), what, _setting(name, better))
        kind = each.value("exchangeKind", "fanout")
        if kind is not None and kind not in EXCHANGE_KINDS:
            what = f"there is no kind of exchange `{kind}`: the sidecar ends at its start"
            yield Violation(each.place_of("exchangeKind"), what, _setting("exchangeKind", "fanout"))


DECLARED = (("durable", "true"), ("deletedWhenUnused", "true"), ("exchangeKind", "fanout"))
"""What goes into the declaration of a topic's exchange, which publishers and readers both make."""


def _declares_alike(name: str, own: str, others: str) -> bool:
    return own == others if name == "exchangeKind" else truthy(own) == truthy(others)


def flags_disagree(config: SidecarConfig) -> Iterator[Violation]:
    """A second declaration that differs is refused (406 PRECONDITION_FAILED), and the channel is closed.

    Two kinds of exchange may be meant, for topics that the components do not share; no file shows those.
    """
    first: dict[tuple[str, ...], Component] = {}
    for each in config.pubsubs("rabbitmq"):
        other = first.setdefault(each.server, each)
        for name, default in DECLARED:
            own, others = each.value(name, default), other.value(name, default)
            if own is not None and others is not None and not _declares_alike(name, own, others):
                what = f"{name} is {own} here and {others} in {other.name} ({other.place_of(name)}), on one broker: "
                what += "the later declaration of a topic of both is refused, and its events are neither sent nor read"
                severity = Severity.WARNING if name == "exchangeKind" else None
                yield Violation(each.place_of(name), what, _setting(name, others), severity)


def _is_limit(value: str) -> bool:
    length = signed(value)
    return length is None or length > 0  # what is no number may be a duration, for ttlInSeconds


def queue_bounded(config: SidecarConfig) -> Iterator[Violation]:
    """RabbitMQ drops the oldest of a full queue, and what has expired; readers declare the queue."""
    for each in config.pubsubs("rabbitmq"):
        for name, what in (
            ("maxLen", "a full queue drops its oldest event, read or not"),
            ("maxLenBytes", "a full queue drops its oldest event, read or not"),
            ("ttlInSeconds", "an event that waits for longer is dropped: an outage of its reader loses it"),
        ):
            value = each.value(name)
            if each.is_read and value and _is_limit(value) and each.is_false("enableDeadLetter"):
                fix = f"remove {name}, or keep what is dropped: {_setting('enableDeadLetter', 'true')}"
                yield Violation(each.place_of(name), what, fix)


def concurrency_ignored(config: SidecarConfig) -> Iterator[Violation]:
    """`pubsub.Concurrency` reads `concurrencyMode`, and its answer replaces what was decoded from `concurrency`."""
    for each in config.pubsubs("rabbitmq"):
        if each.value("concurrency") == "single" and each.setting("concurrencyMode") is None:
            what = "`concurrency` does nothing (concurrencyMode is read): events are handled in parallel, out of order"
            yield Violation(each.place_of("concurrency"), what, _setting("concurrencyMode", "single"))


def publish_and_read(config: SidecarConfig) -> Iterator[Violation]:
    """`Consume` is called outside of the lock that guards the one channel (ADR 12; components-contrib #4540)."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and each.is_published_to:
            what = (
                "one channel publishes and subscribes: a publish while the sidecar starts or connects again can cost "
            )
            what += "a reader, and what is sent to that one is parked until the sidecar ends"
            fix = "two components, each with its comment: `# doctor: publish-only` and `# doctor: read-only`"
            yield Violation(each.place("spec", "type"), what, fix)


def requeue_at_once(config: SidecarConfig) -> Iterator[Violation]:
    """`d.Nack(false, true)` without a pause."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and each.is_true("requeueInFailure") and config.retry_of(each) is None:
            what = f"no inbound retry for {each.name}: a refused event is back at once, as often as the machine can"
            fix = f"a Resiliency with targets.components.{each.name}.inbound.retry: a constant policy of 1s"
            yield Violation(each.place("spec", "type"), what, fix)
