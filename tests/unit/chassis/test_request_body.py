"""The body of a request: whole, or read to its end before an answer that needs none of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from starlette.types import Message, Scope

from chassis import request_body as module
from chassis.request_body import DRAIN_BYTES_MAX, RequestBody, whole_body


class Caller:
    """Sends the pieces of a body, then nothing; counts what was read."""

    def __init__(self, pieces: Sequence[bytes], *, is_gone: bool = False) -> None:
        self._pieces = list(pieces)
        self._is_gone = is_gone
        self.read = 0

    async def receive(self) -> Message:
        """Return the next piece; after the last one of a caller that stays, wait for ever."""
        if not self._pieces:
            if self._is_gone:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
        self.read += 1
        piece = self._pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(self._pieces) or self._is_gone}


def scope(**headers: str) -> Scope:
    """A request with these headers."""
    return {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}


@pytest.mark.parametrize(
    ("headers", "read"),
    [
        (scope(content_length="3"), 3),
        (scope(transfer_encoding="chunked"), 3),
        (scope(), 0),  # it announces none
        (scope(content_length="0"), 0),
        (scope(content_length=str(DRAIN_BYTES_MAX + 1)), 0),
        (scope(content_length="3", expect="100-continue"), 0),  # the caller waits to be asked for it
    ],
    ids=str,
)
def test_a_body_is_drained_if_its_end_may_come_soon(headers: Scope, read: int) -> None:
    """As far as its headers tell."""
    caller = Caller([b"a", b"b", b"c"])

    asyncio.run(RequestBody(caller.receive).drain(headers))

    assert read == caller.read


def test_a_body_that_was_read_is_not_waited_for() -> None:
    """`receive` would return no more of it, however long it is waited for."""
    caller = Caller([b"a", b"b"])

    async def scenario() -> bytes | None:
        body = RequestBody(caller.receive)
        found = await whole_body(body)
        await asyncio.wait_for(body.drain(scope(content_length="2")), 1)
        return found

    assert b"ab" == asyncio.run(scenario())


def test_draining_ends_with_a_caller_that_is_gone() -> None:
    """Nothing more comes from it."""
    caller = Caller([b"a"], is_gone=True)

    asyncio.run(RequestBody(caller.receive).drain(scope(content_length="2")))

    assert 1 == caller.read


def test_draining_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of bytes and of time."""
    monkeypatch.setattr(module, "DRAIN_SECONDS_MAX", 0.01)
    monkeypatch.setattr(module, "DRAIN_BYTES_MAX", 3)
    long, slow = Caller([b"ab"] * 5), Caller([])

    asyncio.run(RequestBody(long.receive).drain(scope(transfer_encoding="chunked")))
    asyncio.run(RequestBody(slow.receive).drain(scope(transfer_encoding="chunked")))

    assert (2, 0) == (long.read, slow.read)


def test_a_caller_that_is_gone_has_no_whole_body() -> None:
    """So its event is not taken for a shorter one."""
    assert asyncio.run(whole_body(Caller([b"a"], is_gone=True).receive)) is None
