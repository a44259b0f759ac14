"""Unparseable messages, published on the project's topics among its events."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import httpx

from sidecart.launcher.dead_letters import DeadLetter
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import read_topics, service_ids
from sidecart.launcher.topology import sidecar_of

SECONDS_MAX = 5.0
FORMS = (
    b"%s is no JSON",
    b'{"id": "%s", "data": {',  # truncated
    b"%s \xff\xfe\x00\x80",  # not text
    b'["%s"]',  # JSON, but not an object
    b'{"mark": "%s"}',  # an object, but not a CloudEvent
    # makes a parser fail
    b'{"specversion": "1.0", "type": "T", "source": "s", "id": "%s", "traceparent": 7, "traceid": 7}',
)


@dataclass(frozen=True, slots=True)
class Planted:
    """One unparseable message; it contains the mark."""

    topic: str
    mark: str
    is_sure: bool = True
    """Whether the sidecar confirmed the message; if not, dead letters about it are optional."""

    @property
    def services(self) -> tuple[str, ...]:
        """The services that must write a dead letter about it."""
        return tuple(each for each in read_topics()[self.topic].consumers if each in service_ids())

    def is_in(self, letter: DeadLetter) -> bool:
        """Return whether a dead letter is about this message."""
        return letter.topic == self.topic and self.mark in letter.event


class Planter:
    """Publishes unparseable messages, unchanged, through the sidecar of the topic's publisher."""

    def __init__(self, system: System, seed: int) -> None:
        self._system = system
        self._random = random.Random(f"unparseable {seed}")
        self.planted: list[Planted] = []

    def plant(self, topic: str) -> None:
        """Publish one message on a topic; raise OSError if the sidecar does not accept it."""
        number = len(self.planted)
        planted = Planted(topic, f"unparseable-{number}-{self._random.getrandbits(32):08x}")
        body = FORMS[number % len(FORMS)] % planted.mark.encode()
        sidecar = sidecar_of(read_topics()[topic].publisher)
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{self._system.ports[sidecar]}/v1.0/publish/pubsub/{topic}",
                params={"metadata.rawPayload": "true"},
                content=body,
                headers={
                    "dapr-api-token": self._system.tokens[sidecar],
                    "content-type": "application/octet-stream",
                },
                timeout=SECONDS_MAX,
                trust_env=False,
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            self.planted.append(replace(planted, is_sure=False))
            raise OSError(f"a message for {topic} was not accepted: {error!r}") from error
        self.planted.append(planted)
