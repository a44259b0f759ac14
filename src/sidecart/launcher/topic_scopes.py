"""Which app may publish and read which topic: each sidecar enforces it (docs/adr/0052).

The components read these variables from the environment of the sidecar. So a new topic changes no
component file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sidecart.chassis.reply_topics import GATEWAYS_MAX
from sidecart.launcher.topics import GATEWAY, MONITOR, app_ids, every_reply_topic, probe_topic, read_topics
from sidecart.launcher.topology import REPLICAS_MAX

FILE = "dapr/topics.env"
"""The same variables for `dapr run` and for containers, as `sidecart scopes` writes them."""
TOPICS = "TOPIC_NAMES"
PUBLISHERS = "TOPIC_PUBLISHERS"
READERS = "TOPIC_READERS"
NAMES = (TOPICS, PUBLISHERS, READERS)
TAP = "tap"
"""The app-id of the tap that the demo and the tests add (src/sidecart/testkit/tap.py)."""

Scopes = Mapping[str, Iterable[str]]


def topic_scopes() -> dict[str, str]:
    """Return the variables for the apps and the topics of the project.

    Raises LaunchError if the topic list cannot be read. The tap and the live page read every topic
    and publish none. An app publishes and reads the probe event of its readiness.
    """
    return variables(publishers(), readers())


def publishers() -> dict[str, list[str]]:
    """Return the topics that each app publishes, by app-id."""
    return {app_id: [*probes(app_id), *_published_by(app_id)] for app_id in app_ids()}


def readers() -> dict[str, list[str]]:
    """Return the topics that each app, the tap and the live page read, by app-id."""
    topics = list(read_topics())
    apps = {app_id: [*probes(app_id), *_read_by(app_id)] for app_id in app_ids()}
    return {**apps, TAP: [*probes(GATEWAY), *topics], MONITOR: topics}


def variables(published: Scopes, read: Scopes) -> dict[str, str]:
    """Return the variables of the scopes of daprd (pkg/scopes): topics by app-id.

    An app that is missing here may publish or read nothing.
    """
    topics = {topic: None for scopes in (published, read) for each in scopes.values() for topic in each}
    return {TOPICS: ",".join(topics), PUBLISHERS: _scopes(published), READERS: _scopes(read)}


def probes(app_id: str) -> list[str]:
    """Return the topics of the probe events of all replicas of an app."""
    return list(dict.fromkeys(probe_topic(app_id, name) for name in pod_names(app_id)))


def pod_names(app_id: str) -> list[str]:
    """Return the value of POD_NAME for each replica that an app may have."""
    return [f"{app_id}-{number}" for number in range(GATEWAYS_MAX if app_id == GATEWAY else REPLICAS_MAX)]


def publisher_of(topic: str) -> str | None:
    """Return the app whose sidecar publishes a topic, also a probe or a reply; None without one."""
    known = read_topics().get(topic)
    if known is not None:
        return known.publisher
    if (replier := every_reply_topic().get(topic)) is not None:
        return replier
    return next((app_id for app_id in app_ids() if topic in probes(app_id)), None)


def file_text() -> str:
    """Return the content of `FILE`.

    Its values contain no blanks. A shell must not source it, because they contain a `;`.
    """
    return "".join(f"{name}={value}\n" for name, value in topic_scopes().items())


def _published_by(app_id: str) -> list[str]:
    own = [name for name, topic in read_topics().items() if topic.publisher == app_id]
    return [*own, *(topic for topic, publisher in every_reply_topic().items() if publisher == app_id)]


def _read_by(app_id: str) -> list[str]:
    own = [name for name, topic in read_topics().items() if app_id in topic.consumers]
    return [*own, *every_reply_topic()] if app_id == GATEWAY else own


def _scopes(scopes: Scopes) -> str:
    return ";".join(f"{app_id}={','.join(topics)}" for app_id, topics in scopes.items())
