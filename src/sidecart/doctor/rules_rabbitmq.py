"""Rules for pub/sub on RabbitMQ.

Sources: components-contrib 1.18.3, pubsub/rabbitmq/metadata.go (the defaults) and rabbitmq.go.
"""

from collections.abc import Iterator

from sidecart.doctor.dapr_values import number, signed, truthy
from sidecart.doctor.findings import Severity, Violation
from sidecart.doctor.resources import Component
from sidecart.doctor.sidecar_config import SidecarConfig

PREFETCH_MAX = 255
"""The component decodes the value into a Go uint8."""
GUEST = "://guest:guest@"
EXCHANGE_KINDS = ("fanout", "topic", "direct", "headers")


def _setting(name: str, value: str) -> str:
    return f'- {{name: {name}, value: "{value}"}}'


def guest(config: SidecarConfig) -> Iterator[Violation]:
    """RabbitMQ's first login has a known password and all rights."""
    for each in config.pubsubs("rabbitmq"):
        found = each.setting("connectionString")
        if found is None:
            continue
        urls = [found.value or "", *(env.variables.get(found.env, "") for _, env in config.environments(each))]
        if any(GUEST in url for url in urls):
            what = f"{each.name} uses the login `guest`, which has a known password and all rights"
            fix = "a login per app (`sidecart scopes` writes tye-or-compose/rabbitmq.json)"
            yield Violation(each.on(found.line), what, fix)


def not_durable(config: SidecarConfig) -> Iterator[Violation]:
    """`durable` is true by default, although metadata.yaml says false."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_false("durable", default="true"):
            what = "exchanges and queues end with the broker: a restart loses the events in them"
            yield Violation(each.place_of("durable"), what, _setting("durable", "true"))


def auto_delete(config: SidecarConfig) -> Iterator[Violation]:
    """`deletedWhenUnused` is true by default."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_true("deletedWhenUnused", default="true"):
            what = (
                "the broker deletes a queue with its events when its last reader disconnects, as at a service restart"
            )
            yield Violation(each.place_of("deletedWhenUnused"), what, _setting("deletedWhenUnused", "false"))


def not_persistent(config: SidecarConfig) -> Iterator[Violation]:
    """`deliveryMode` is 0 by default."""
    for each in config.pubsubs("rabbitmq"):
        mode = number(each.value("deliveryMode", "0") or "")
        if each.is_published_to and mode is not None and mode < 2:
            what = "events are published as transient: a broker restart loses them, even in durable queues"
            yield Violation(each.place_of("deliveryMode"), what, _setting("deliveryMode", "2"))


def no_confirm(config: SidecarConfig) -> Iterator[Violation]:
    """`publisherConfirm` is false by default."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_published_to and each.is_false("publisherConfirm"):
            what = "a publish succeeds once it is written to the socket: an event that never arrives is silently lost"
            yield Violation(each.place_of("publisherConfirm"), what, _setting("publisherConfirm", "true"))


def no_requeue(config: SidecarConfig) -> Iterator[Violation]:
    """`requeueInFailure` is false by default: `d.Nack(false, false)`."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and each.is_false("requeueInFailure") and each.is_false("enableDeadLetter"):
            what = "the broker discards an event that the app rejects, or that is in progress when its sidecar stops"
            yield Violation(each.place_of("requeueInFailure"), what, _setting("requeueInFailure", "true"))


def auto_ack(config: SidecarConfig) -> Iterator[Violation]:
    """With `autoAck` the broker deletes an event as soon as it sends it."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and each.is_true("autoAck"):
            what = "the broker deletes an event when it sends it: if the sidecar or app crashes, the event is lost"
            yield Violation(each.place_of("autoAck"), what, _setting("autoAck", "false"))


def no_prefetch(config: SidecarConfig) -> Iterator[Violation]:
    """`prefetchCount` is 0 by default: no limit."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and number(each.value("prefetchCount", "0") or "") == 0:
            what = (
                "the broker sends a sidecar the whole queue at once: after an outage that can overload app and memory"
            )
            yield Violation(each.place_of("prefetchCount"), what, _setting("prefetchCount", "32"))


def value_unreadable(config: SidecarConfig) -> Iterator[Violation]:
    """The component rejects the value: the sidecar exits at startup."""
    for each in config.pubsubs("rabbitmq"):
        for name, most, better in (("prefetchCount", PREFETCH_MAX, "32"), ("deliveryMode", 2, "2")):
            value = each.value(name)
            if value and ((found := number(value)) is None or found > most):
                what = f"`{value}` is not a number from 0 to {most}: the sidecar exits at startup"
                yield Violation(each.place_of(name), what, _setting(name, better))
        kind = each.value("exchangeKind", "fanout")
        if kind is not None and kind not in EXCHANGE_KINDS:
            what = f"RabbitMQ has no exchange kind `{kind}`: the sidecar exits at startup"
            yield Violation(each.place_of("exchangeKind"), what, _setting("exchangeKind", "fanout"))


DECLARED = (("durable", "true"), ("deletedWhenUnused", "true"), ("exchangeKind", "fanout"))
"""The settings in the declaration of a topic's exchange; publishers and readers both declare it."""


def _declares_alike(name: str, own: str, others: str) -> bool:
    return own == others if name == "exchangeKind" else truthy(own) == truthy(others)


def flags_disagree(config: SidecarConfig) -> Iterator[Violation]:
    """RabbitMQ rejects a conflicting declaration (406 PRECONDITION_FAILED) and closes the channel.

    Two exchange kinds are valid if the components share no topic, which no file shows.
    """
    first: dict[tuple[str, ...], Component] = {}
    for each in config.pubsubs("rabbitmq"):
        other = first.setdefault(each.server, each)
        for name, default in DECLARED:
            own, others = each.value(name, default), other.value(name, default)
            if own is not None and others is not None and not _declares_alike(name, own, others):
                what = f"{name} is {own} here and {others} in {other.name} ({other.place_of(name)}), on one broker: "
                what += (
                    "the broker rejects the later declaration of a shared topic, whose events are neither sent nor read"
                )
                severity = Severity.WARNING if name == "exchangeKind" else None
                yield Violation(each.place_of(name), what, _setting(name, others), severity)


def _is_limit(value: str) -> bool:
    length = signed(value)
    return length is None or length > 0  # ttlInSeconds may be a duration instead of a number


def queue_bounded(config: SidecarConfig) -> Iterator[Violation]:
    """RabbitMQ drops expired events and the oldest of a full queue; readers declare the queue."""
    for each in config.pubsubs("rabbitmq"):
        for name, what in (
            ("maxLen", "a full queue drops its oldest event, read or not"),
            ("maxLenBytes", "a full queue drops its oldest event, read or not"),
            ("ttlInSeconds", "an event that waits longer is dropped: an outage of its reader loses it"),
        ):
            value = each.value(name)
            if each.is_read and value and _is_limit(value) and each.is_false("enableDeadLetter"):
                fix = f"remove {name}, or keep the dropped events: {_setting('enableDeadLetter', 'true')}"
                yield Violation(each.place_of(name), what, fix)


def concurrency_ignored(config: SidecarConfig) -> Iterator[Violation]:
    """`pubsub.Concurrency` reads `concurrencyMode` and overwrites the decoded `concurrency`."""
    for each in config.pubsubs("rabbitmq"):
        if each.value("concurrency") == "single" and each.setting("concurrencyMode") is None:
            what = "`concurrency` has no effect (daprd reads concurrencyMode): events overtake each other"
            yield Violation(each.place_of("concurrency"), what, _setting("concurrencyMode", "single"))


def publish_and_read(config: SidecarConfig) -> Iterator[Violation]:
    """`Consume` runs outside the lock of the single channel (ADR 12; components-contrib #4540)."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and each.is_published_to:
            what = (
                "publishing and reading share one channel: a publish while the sidecar starts or reconnects can lose "
            )
            what += "a reader, and the events sent to that reader wait until the sidecar stops"
            fix = "use two components, one with `# doctor: publish-only` and one with `# doctor: read-only`"
            yield Violation(each.place("spec", "type"), what, fix)


def requeue_at_once(config: SidecarConfig) -> Iterator[Violation]:
    """`d.Nack(false, true)` requeues without a pause."""
    for each in config.pubsubs("rabbitmq"):
        if each.is_read and each.is_true("requeueInFailure") and config.retry_of(each) is None:
            what = f"no inbound retry for {each.name}: a rejected event returns at once, as fast as the machine allows"
            fix = f"a Resiliency with targets.components.{each.name}.inbound.retry: a constant policy of 1s"
            yield Violation(each.place("spec", "type"), what, fix)
