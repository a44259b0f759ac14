"""The body of a request: read whole, or drained before a response that does not need it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.types import Message, Scope

from sidecart.chassis.server import request_body as module
from sidecart.chassis.server.request_body import DRAIN_BYTES_MAX, RequestBody, whole_body


class Caller:
    """A client that sends the parts of a body, then nothing; it counts the parts that were read."""

    def __init__(self, pieces: Sequence[bytes], *, is_gone: bool = False) -> None:
        self._pieces = list(pieces)
        self._is_gone = is_gone
        self.read = 0

    async def receive(self) -> Message:
        """Return the next part; after the last one, a disconnect or nothing."""
        if not self._pieces:
            if self._is_gone:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        self.read += 1
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or self._is_gone}


def scope(**headers: str) -> Scope:
    """Return the scope of a request with these headers."""
    return {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        (scope(content_length="3"), 3),
        (scope(transfer_encoding="chunked"), 3),
        (scope(), 0),  # no body
        (scope(content_length="0"), 0),
        (scope(content_length=str(DRAIN_BYTES_MAX + 1)), 0),
        (scope(content_length="3", expect="100-continue"), 0),  # the client waits for a 100
    ],
    ids=str,
)
def test_the_headers_decide_whether_a_body_is_drained(headers: Scope, read: int) -> None:
    """A body is drained unless the headers show none, a long one, or one that waits for a 100."""
    caller = Caller([b"a", b"b", b"c"])

    asyncio.run(RequestBody(caller.receive).drain(headers))

    assert read == caller.read


def test_a_body_that_was_read_is_not_drained() -> None:
    """Draining a body that was read returns at once."""
    caller = Caller([b"a", b"b"])

    async def scenario() -> bytes | None:
        body = RequestBody(caller.receive)
        found = await whole_body(body)
        await asyncio.wait_for(body.drain(scope(content_length="2")), 1)
        return found

    assert b"ab" == asyncio.run(scenario())


def test_draining_ends_with_a_disconnect() -> None:
    """Draining ends when the client disconnects."""
    caller = Caller([b"a"], is_gone=True)

    asyncio.run(RequestBody(caller.receive).drain(scope(content_length="2")))

    assert 1 == caller.read


def test_draining_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draining stops at its limits of bytes and time."""
    monkeypatch.setattr(module, "DRAIN_SECONDS_MAX", 0.01)
    monkeypatch.setattr(module, "DRAIN_BYTES_MAX", 3)
    long, slow = Caller([b"ab"] * 5), Caller([])

    asyncio.run(RequestBody(long.receive).drain(scope(transfer_encoding="chunked")))
    asyncio.run(RequestBody(slow.receive).drain(scope(transfer_encoding="chunked")))

    assert (2, 0) == (long.read, slow.read)


def test_a_disconnected_caller_has_no_whole_body() -> None:
    """A body that was cut off is None, so that it is not processed as a shorter one."""
    assert asyncio.run(whole_body(Caller([b"a"], is_gone=True).receive)) is None
