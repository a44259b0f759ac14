"""A proxy between an app and its sidecar that confirms a publish and drops it.

Over HTTP/1.1 it reads the form that the apps send: one request at a time on a kept connection,
bodies with a content-length. swallow_grpc.py reads gRPC.
"""

from __future__ import annotations

import json
import random
import threading
import time
from pathlib import Path
from typing import Protocol

PUBLISH = b"POST /v1.0/publish/"
HEAD_END = b"\r\n\r\n"
ANSWER = b"HTTP/1.1 204 No Content\r\n\r\n"


class Swallowed:
    """The swallowed publishes: drawn from a seed, written to a file, counted by topic."""

    def __init__(self, seed: int, share: float, path: Path) -> None:
        self._random = random.Random(f"swallow {seed}")
        self._share = share
        self._file = path.open("a", encoding="utf-8")
        self._lock = threading.Lock()
        self.seen = 0
        self.by_topic: dict[str, int] = {}

    def stop(self) -> None:
        """Swallow nothing from now on."""
        self._share = 0.0

    def draw(self) -> bool:
        """Return whether the next publish is swallowed."""
        with self._lock:
            self.seen += 1
            return self._random.random() < self._share

    def record(self, topic: str, body: bytes) -> None:
        """Record a publish that is swallowed."""
        with self._lock:
            self.by_topic[topic] = self.by_topic.get(topic, 0) + 1
            event = body.decode(errors="replace")
            self._file.write(json.dumps({"at": time.time(), "topic": topic, "event": event}) + "\n")
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Swallower(Protocol):
    """Separates what passes on one connection from the publishes that are swallowed."""

    def from_app(self, data: bytes) -> tuple[bytes, bytes]:
        """Take data of the app; return what passes, and the answers for the app."""

    def from_sidecar(self, data: bytes) -> bytes:
        """Take data of the sidecar; return what passes, after which an answer may stand."""


class HttpSwallower:
    """Swallows publishes over HTTP/1.1."""

    def __init__(self, swallowed: Swallowed) -> None:
        self._swallowed = swallowed
        self._buffer = b""

    def from_app(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the whole requests for the sidecar, and the answers for the app."""
        self._buffer += data
        passed, answers = b"", b""
        while (request := self._whole_request()) is not None:
            head, _, body = request.partition(HEAD_END)
            if head.startswith(PUBLISH) and self._swallowed.draw():
                self._swallowed.record(_topic(head), body)
                answers += ANSWER
            else:
                passed += request
        return passed, answers

    def from_sidecar(self, data: bytes) -> bytes:
        """Return all: the app waits for one answer at a time."""
        return data

    def _whole_request(self) -> bytes | None:
        """Return the next request and remove it from the buffer, or None until it is complete."""
        end = self._buffer.find(HEAD_END)
        if end < 0:
            return None
        end += len(HEAD_END) + _length(self._buffer[:end])
        if len(self._buffer) < end:
            return None
        request, self._buffer = self._buffer[:end], self._buffer[end:]
        return request


def _topic(head: bytes) -> str:
    path = head.split(b" ", 2)[1].partition(b"?")[0]
    return path.rpartition(b"/")[2].decode("latin-1")


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
        assert name.strip().lower() != b"transfer-encoding", "chunked requests are not supported"
    return 0
