"""Pub/sub components: harmless settings, and settings that no file shows, are not dangers."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.doctor.findings import Finding, Severity
from sidecart.doctor.rules import judge
from sidecart.doctor.starts import Environment
from sidecart.doctor.targets import named

READER = """\
# doctor: read-only
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: inbox}
spec:
  type: pubsub.rabbitmq
  version: v1
  metadata:
    - {name: connectionString, value: amqp://127.0.0.1}
    - {name: deletedWhenUnused, value: "false"}
    - {name: requeueInFailure, value: "true"}
    - {name: prefetchCount, value: "32"}
"""
PUBLISHER = """\
# doctor: publish-only
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub}
spec:
  type: pubsub.rabbitmq
  version: v1
  metadata:
    - {name: connectionString, value: amqp://127.0.0.1}
    - {name: deletedWhenUnused, value: "false"}
    - {name: publisherConfirm, value: "true"}
    - {name: deliveryMode, value: "2"}
"""
STREAMS = """\
# doctor: publish-only
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: pubsub}
spec:
  type: pubsub.redis
  version: v1
  metadata:
    - {name: redisHost, value: "127.0.0.1:6379"}
    - {name: redisPassword, secretKeyRef: {name: redis, key: password}}
"""


def reported(folder: Path, *texts: str) -> list[Finding]:
    """The doctor's findings for components that one sidecar loads."""
    for number, text in enumerate(texts):
        (folder / f"{number}.yaml").write_text(text, encoding="utf-8")
    return [one for config in named([folder], Environment({"LIMIT": "1"})) for one in judge(config)]


def severities(found: list[Finding], rule: str) -> list[Severity]:
    """The severity of each finding of a rule."""
    return [one.severity for one in found if one.rule == rule]


def setting(name: str, value: str) -> str:
    """One more metadata entry of a component."""
    return f'    - {{name: {name}, value: "{value}"}}\n'


@pytest.mark.parametrize(
    ("name", "one", "other", "expected"),
    [
        ("durable", "yes", "true", []),
        ("durable", "1", "True", []),
        ("durable", "yes", "no", [Severity.DANGER]),
        ("exchangeKind", "fanout", "fanout", []),
        ("exchangeKind", "fanout", "direct", [Severity.WARNING]),
    ],
)
def test_declarations_are_compared_by_meaning(
    tmp_path: Path, name: str, one: str, other: str, expected: list[Severity]
) -> None:
    """Booleans are compared by value; two exchange kinds are valid if no topic uses both."""
    found = reported(tmp_path, PUBLISHER + setting(name, one), READER + setting(name, other))

    assert expected == severities(found, "rabbitmq-flags-disagree")


@pytest.mark.parametrize(
    ("component", "expected"),
    [
        (READER + setting("maxLen", "1000"), [Severity.DANGER]),
        (READER + setting("ttlInSeconds", "30s"), [Severity.DANGER]),
        (READER + "    - {name: maxLen, envRef: LIMIT}\n", []),
        (READER + setting("maxLen", ""), []),
        (READER + setting("maxLenBytes", "0"), []),
        (READER + setting("maxLen", "-1"), []),
        (PUBLISHER + setting("maxLen", "1000"), []),
    ],
    ids=["length", "age", "from-env", "empty", "zero", "negative", "publisher"],
)
def test_a_visible_queue_limit_is_reported(tmp_path: Path, component: str, expected: list[Severity]) -> None:
    """A component that only publishes declares no queue; a limit below 1 is not declared."""
    assert expected == severities(reported(tmp_path, component), "rabbitmq-queue-bounded")


@pytest.mark.parametrize("length", ["-1", "0"])
def test_a_stream_without_a_length_grows_forever(tmp_path: Path, length: str) -> None:
    """`maxLenApprox` is an int64: the sidecar accepts a value below 1 and trims nothing."""
    (finding,) = reported(tmp_path, STREAMS + setting("maxLenApprox", length))

    assert ("redis-stream-unbounded", 11) == (finding.rule, finding.place.line)


@pytest.mark.parametrize(("ttl", "expected"), [("168h", []), ("1h", ["redis-stream-short"])])
@pytest.mark.parametrize("length", ["-1", "0"])
def test_a_stream_without_a_length_is_trimmed_by_age(
    tmp_path: Path, length: str, ttl: str, expected: list[str]
) -> None:
    """go-redis sends MINID if MAXLEN is below 1."""
    found = reported(tmp_path, STREAMS + setting("maxLenApprox", length) + setting("streamTTL", ttl))

    assert expected == [one.rule for one in found]


@pytest.mark.parametrize(("name", "value"), [("maxLenApprox", "1e6"), ("queueDepth", "-1"), ("concurrency", "-1")])
def test_a_number_that_go_rejects_is_reported(tmp_path: Path, name: str, value: str) -> None:
    """A uint accepts no sign, and an int64 no exponent."""
    found = reported(tmp_path, STREAMS + setting(name, value))

    assert [Severity.DANGER] == severities(found, "redis-value-unreadable")
