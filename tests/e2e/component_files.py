"""Component files that a new user would write by hand, for servers that run already.

Their variables have names that the launcher does not know.
"""

from __future__ import annotations

from pathlib import Path

BROKER, STORE = "MY_BROKER", "MY_STORE"

RABBITMQ_QUEUES = """\
    - {name: durable, value: "true"}
    - {name: deletedWhenUnused, value: "false"}
    - {name: exchangeKind, value: fanout}
    - {name: enableDeadLetter, value: "false"}
    - {name: deliveryMode, value: "2"}
    - {name: publisherConfirm, value: "true"}
"""
PUBLISHING = {
    "redis": '    - {name: maxLenApprox, value: "100000"}\n    - {name: poolSize, value: "64"}\n',
    "rabbitmq": RABBITMQ_QUEUES,
}
READING = {
    "redis": """\
    - {name: processingTimeout, value: "20000"}
    - {name: redeliverInterval, value: "5000"}
    - {name: queueDepth, value: "50"}
    - {name: concurrency, value: "32"}
    - {name: poolSize, value: "64"}
""",
    "rabbitmq": RABBITMQ_QUEUES
    + """\
    - {name: autoAck, value: "false"}
    - {name: requeueInFailure, value: "true"}
    - {name: prefetchCount, value: "32"}
    - {name: concurrency, value: parallel}
""",
}
ADDRESS = {"redis": "redisHost", "rabbitmq": "connectionString", "postgres": "connectionString"}
STORES = {
    "redis": (
        "state.redis",
        "v1",
        """\
    - {name: keyPrefix, value: appid}
    - {name: redisMinRetryInterval, value: 50ms}
    - {name: redisMaxRetryInterval, value: 500ms}
""",
    ),
    "postgres": (
        "state.postgresql",
        "v2",
        """\
    - {name: keyPrefix, value: appid}
    - {name: maxConns, value: "16"}
""",
    ),
}
LOGIN = """\
    - {name: redisUsername, envRef: REDIS_USERNAME}
    - {name: redisPassword, envRef: REDIS_PASSWORD}
"""
NO_LOGIN = {"REDIS_USERNAME": "", "REDIS_PASSWORD": ""}
OWN_CONSUMER = '    - {name: consumerID, value: "{podName}"}\n'
POLICY = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata:
  name: mine
spec:
  policies:
    retries:
      mine: {policy: constant, duration: 1s, maxRetries: 5}
  targets:
    components:
      inbox: {inbound: {retry: mine}}
      replies: {inbound: {retry: mine}}
      mailbus: {inbound: {retry: mine}}
"""
"""Overrides the project's endless retries, which RabbitMQ does not need: it takes an event back."""


def write(folder: Path, broker: str, store: str) -> Path:
    """Write the components for these kinds of servers into a new folder, and return it."""
    folder.mkdir()
    components = {
        "pubsub": ("publish-only", PUBLISHING[broker]),
        "inbox": ("read-only", READING[broker]),
        "replies": ("read-only", READING[broker] + OWN_CONSUMER),
        "mailbus": ("read-only", READING[broker]),
    }
    for name, (use, settings) in components.items():
        text = _component(name, f"pubsub.{broker}", "v1", ADDRESS[broker], BROKER) + settings
        (folder / f"{name}.yaml").write_text(f"# doctor: {use}\n{text}", encoding="utf-8")
    kind, version, settings = STORES[store]
    text = _component("statestore", kind, version, ADDRESS[store], STORE) + settings
    (folder / "statestore.yaml").write_text(text, encoding="utf-8")
    if broker == "rabbitmq":
        (folder / "policy.yaml").write_text(POLICY, encoding="utf-8")
    return folder


def _component(name: str, kind: str, version: str, setting: str, variable: str) -> str:
    return f"""\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: {name}
spec:
  type: {kind}
  version: {version}
  metadata:
    - {{name: {setting}, envRef: {variable}}}
{LOGIN if setting == "redisHost" else ""}"""
