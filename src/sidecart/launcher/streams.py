"""The streams of a broker that keeps acknowledged events, and the groups that must have read them.

A trimmer reads this list (ADR 70). A kind of topic that joins the topology joins it here.
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecart.chassis.settings import whole
from sidecart.launcher.topic_scopes import probes
from sidecart.launcher.topics import GATEWAY, app_ids, every_reply_topic, read_topics

RETENTION = "STREAM_RETENTION_SECONDS"
RETENTION_SECONDS = 3_600
RETENTION_SECONDS_MIN, RETENTION_SECONDS_MAX = 10, 7 * 86_400
"""The gateway repeats a command for seven days, so no event is needed for longer."""


def read_retention(environ: Mapping[str, str]) -> int:
    """Return for how many seconds a stream keeps acknowledged events; raise SettingError."""
    return whole(environ, RETENTION, RETENTION_SECONDS_MIN, RETENTION_SECONDS_MAX, RETENTION_SECONDS)


def streams() -> Mapping[str, frozenset[str]]:
    """Return the expected consumer groups of each stream, by topic.

    An expected group is that of a service, whose replicas share its app-id. While one does not
    exist, its service has not started yet and will read from the first event. The groups of
    gateways, of the live page and of a tap come and go, so they count as long as they exist.
    """
    topics = {name: _services(topic.consumers) for name, topic in read_topics().items()}
    topics |= dict.fromkeys(every_reply_topic(), frozenset[str]())
    return topics | {topic: _services((app_id,)) for app_id in app_ids() for topic in probes(app_id)}


def _services(consumers: tuple[str, ...]) -> frozenset[str]:
    return frozenset(consumers) - {GATEWAY}
