"""The publisher of each topic, which is the only valid `source` of its events, and the replies.

A project's contracts/topics.json names them. A service and the gateway read it once, at startup.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from sidecart.chassis.reply_topics import GATEWAY

TOPIC_LIST = Path("contracts", "topics.json")


class _Topic(msgspec.Struct):
    publisher: str
    consumers: tuple[str, ...] = ()


def read_publishers(folder: Path) -> dict[str, str]:
    """Return the publishers by topic, from the nearest topic list in `folder` or above it.

    Raise LookupError without a topic list, msgspec.ValidationError for an invalid one.
    """
    return {name: topic.publisher for name, topic in _read(folder).items()}


def read_replies(folder: Path, publisher: str) -> frozenset[str]:
    """Return the topics of an app that the gateway consumes, from the same list.

    Raise as `read_publishers` does.
    """
    topics = _read(folder).items()
    return frozenset(name for name, topic in topics if topic.publisher == publisher and GATEWAY in topic.consumers)


def _read(folder: Path) -> dict[str, _Topic]:
    for each in (folder, *folder.parents):
        if (each / TOPIC_LIST).is_file():
            return msgspec.json.decode((each / TOPIC_LIST).read_bytes(), type=dict[str, _Topic])
    raise LookupError(f"no {TOPIC_LIST} in {folder} or above it")


def publishers_of(topics: Iterable[str], publishers: Mapping[str, str]) -> dict[str, str]:
    """Return the publishers of these topics; raise LookupError for a topic without one."""
    names = list(topics)
    if unknown := [name for name in names if name not in publishers]:
        raise LookupError(f"{TOPIC_LIST} has no publisher of {', '.join(unknown)}")
    return {name: publishers[name] for name in names}
