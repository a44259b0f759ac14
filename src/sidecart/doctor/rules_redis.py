"""Rules for pub/sub on Redis Streams.

Sources: components-contrib 1.18.3, pubsub/redis/redis.go and common/component/redis.
"""

from collections.abc import Iterator

from sidecart.doctor.dapr_values import duration_ms, number, signed
from sidecart.doctor.findings import Violation
from sidecart.doctor.resources import Component
from sidecart.doctor.sidecar_config import SidecarConfig
from sidecart.launcher.topics import MONITOR

LENGTH_MIN = 100_000
"""At hundreds of events a second, a shorter stream trims unread events after minutes of outage."""
TTL_HOURS_MIN = 24
"""Events must survive an overnight outage."""
MEANT_SECONDS_BELOW = 1_000
"""A bare number is milliseconds; redelivery within a second is not useful, so it meant seconds."""

RETRY_FIX = (
    "a Resiliency with policies.retries.forever: {policy: constant, duration: 1s, maxRetries: -1} and "
    "targets.components.%s.inbound.retry: forever"
)


def no_password(config: SidecarConfig) -> Iterator[Violation]:
    """Without redisPassword, the component reaches only a server that accepts every caller."""
    for each in config.components:
        if each.type in ("pubsub.redis", "state.redis") and each.setting("redisPassword") is None:
            what = f"{each.name} sends no password: it needs a server that every program may change"
            fix = "- {name: redisPassword, envRef: REDIS_PASSWORD}, and redisUsername for a login per app"
            yield Violation(each.place("spec", "type"), what, fix)


def no_inbound_retry(config: SidecarConfig) -> Iterator[Violation]:
    """`processMessage` sends XACK even when the handler returns an error.

    The live page shows events and keeps none. A policy without a limit would deliver an event to a
    closed page forever (ADR 30).
    """
    if config.starts and all(start.app_id == MONITOR for start in config.starts):
        return
    for each in config.pubsubs("redis"):
        if each.is_read and config.retry_of(each) is None and not config.keeps_dead_letters(each):
            what = f"no inbound retry for {each.name}: an event that fails once (a 500, a refused connection) is lost"
            yield Violation(each.place("spec", "type"), what, RETRY_FIX % each.name)


def stream_unbounded(config: SidecarConfig) -> Iterator[Violation]:
    """Without MAXLEN or MINID acknowledged entries stay; go-redis omits a MAXLEN below 1."""
    for each in config.pubsubs("redis"):
        length = signed(each.value("maxLenApprox", "0") or "")
        if each.is_published_to and length is not None and length <= 0 and each.setting("streamTTL") is None:
            what = "streams grow until the server runs out of memory: acknowledged entries stay"
            yield Violation(each.place_of("maxLenApprox"), what, '- {name: maxLenApprox, value: "1000000"}')


def stream_ttl_and_maxlen(config: SidecarConfig) -> Iterator[Violation]:
    """go-redis sends MAXLEN if it is set, and MINID otherwise."""
    for each in config.pubsubs("redis"):
        ttl = each.setting("streamTTL")
        length = signed(each.value("maxLenApprox", "0") or "")
        if ttl is not None and (length is None or length > 0):
            what = "streamTTL has no effect together with maxLenApprox: only the length trims"
            yield Violation(each.on(ttl.line), what, "remove one of the two")


def stream_short(config: SidecarConfig) -> Iterator[Violation]:
    """Redis trims entries whether they were read or not."""
    for each in config.pubsubs("redis"):
        length, ttl = number(each.value("maxLenApprox") or ""), duration_ms(each.value("streamTTL") or "")
        if length is not None and 0 < length < LENGTH_MIN:
            what = f"after {length} newer events an event is trimmed, even unread: an outage of its reader loses it"
            yield Violation(each.place_of("maxLenApprox"), what, '- {name: maxLenApprox, value: "1000000"}')
        elif not length and ttl is not None and 0 < ttl < TTL_HOURS_MIN * 3_600_000:
            what = f"after {each.value('streamTTL')} an event is trimmed, even unread: a longer outage loses it"
            yield Violation(each.place_of("streamTTL"), what, "- {name: streamTTL, value: 168h}")


def interval_not_milliseconds(config: SidecarConfig) -> Iterator[Violation]:
    """A bare number is milliseconds in both settings.

    The component does not decode `redeliverInterval` (mapstructure "-"), so it accepts no unit.
    """
    for each in config.pubsubs("redis"):
        for name, default in (("redeliverInterval", "15 s"), ("processingTimeout", "60 s")):
            value = each.value(name)
            if not each.is_read or not value:
                continue
            bare, long = number(value), duration_ms(value)
            if bare is None and long is not None and name == "redeliverInterval":
                what = f"redeliverInterval accepts only bare milliseconds: daprd ignores `{value}` and uses {default}"
                yield Violation(each.place_of(name), what, f'- {{name: {name}, value: "{long:.0f}"}}')
            elif bare is not None and 0 < bare < MEANT_SECONDS_BELOW:
                what = f"{name} is in milliseconds: after {bare} ms, events in progress are redelivered at once"
                yield Violation(each.place_of(name), what, f'- {{name: {name}, value: "{bare * 1_000}"}}')


def redelivery_off(config: SidecarConfig) -> Iterator[Violation]:
    """`reclaimPendingMessagesLoop` returns at once if either setting is 0."""
    for each in config.pubsubs("redis"):
        for name in ("redeliverInterval", "processingTimeout"):
            if each.is_read and duration_ms(each.value(name) or "") == 0:
                what = "redelivery is off: events that a sidecar held when it crashed are never processed"
                yield Violation(each.place_of(name), what, f'- {{name: {name}, value: "20000"}}')


_DURATIONS = ("processingTimeout", "streamTTL", "dialTimeout", "readTimeout", "writeTimeout", "poolTimeout")
_NUMBERS = ("queueDepth", "concurrency", "redisPort")
_SIGNED = ("maxLenApprox",)
"""An int64; a value below 1 means no limit."""


def value_unreadable(config: SidecarConfig) -> Iterator[Violation]:
    """The decoder rejects the value: the sidecar exits at startup (kit 0.18.2, config.Decode)."""
    for each in config.pubsubs("redis"):
        for name in (*_DURATIONS, *_NUMBERS, *_SIGNED):
            value = each.value(name)
            parse = duration_ms if name in _DURATIONS else signed if name in _SIGNED else number
            if value and parse(value) is None:
                kind = "duration (Go has no days: 720h)" if name in _DURATIONS else "whole number"
                what = f"`{value}` is not a {kind}: the sidecar exits at startup"
                yield Violation(each.place_of(name), what, _corrected(name, value))


def _corrected(name: str, value: str) -> str:
    days = number(value.removesuffix("d").strip()) if value.endswith("d") else None
    if days is not None:
        return f"- {{name: {name}, value: {days * 24}h}}"
    return f'- {{name: {name}, value: "{20_000 if name in _DURATIONS else 100}"}}'


def concurrency_shared(config: SidecarConfig) -> Iterator[Violation]:
    """Each sidecar has ten workers and one queue for all topics of a component."""
    for each in config.pubsubs("redis"):
        if each.is_read and each.setting("concurrency") is None:
            what = "all topics share 10 workers: ten slow or rejected events delay all others"
            yield Violation(each.place("spec", "type"), what, '- {name: concurrency, value: "32"}')


def retry_ends(config: SidecarConfig, component: Component) -> bool:
    """Whether an event is acknowledged, and so lost, when its retries end."""
    return component.type == "pubsub.redis" and not config.keeps_dead_letters(component)
