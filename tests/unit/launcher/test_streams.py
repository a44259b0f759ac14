"""Which groups must have read a stream before anything may be removed from it."""

from __future__ import annotations

from sidecart.launcher.permissions import TRIMMER, keeper, trimmer
from sidecart.launcher.streams import streams
from sidecart.launcher.topic_scopes import probes
from sidecart.launcher.topics import GATEWAY, app_ids, every_reply_topic, read_topics, service_ids


def test_each_service_that_consumes_a_topic_is_expected() -> None:
    """The topic list decides; a gateway is not expected, because further ones come and go."""
    found = streams()

    for name, topic in read_topics().items():
        assert {each for each in topic.consumers if each in service_ids()} == found[name]
    assert {frozenset[str]()} == {found[name] for name in probes(GATEWAY)}
    assert {frozenset({app_id}) for app_id in service_ids()} == {
        found[name] for app_id in service_ids() for name in probes(app_id)
    }


def test_the_trimmer_may_trim_every_stream() -> None:
    """They are the topics, reply topics and probes of all replicas; it has no other right."""
    known = {*read_topics(), *every_reply_topic(), *(topic for app_id in app_ids() for topic in probes(app_id))}
    rights = trimmer()

    assert known == set(streams()) == set(rights.trims) == set(keeper("x").counts)
    assert (TRIMMER, (), (), (), (), False) == (
        rights.app_id,
        rights.publishes,
        rights.reads,
        rights.inspects,
        rights.counts,
        rights.has_records,
    )
