"""The mails: read on from the last one, by the mail catcher's own interface."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from cli.servers.mailcatcher import Mailbox, SmtpSide, http_side
from monitor import mails as module
from monitor.mails import Mails
from tests.unit.cli.test_mailcatcher import envelope

SECONDS = 30


@pytest.fixture
def mailbox() -> Mailbox:
    """An empty one."""
    return Mailbox()


@pytest.fixture
def url(mailbox: Mailbox) -> Iterator[str]:
    """Where the mail catcher answers."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), http_side(mailbox, SmtpSide(mailbox)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


async def read(mails: Mails, took: asyncio.Event) -> None:
    """Read on until something was taken."""
    async with httpx.AsyncClient(trust_env=False) as client:
        reading = asyncio.create_task(mails.read_on(client))
        async with asyncio.timeout(SECONDS):
            await took.wait()
        reading.cancel()


def test_each_mail_is_taken_once_whoever_looks_and_stops_looking(mailbox: Mailbox, url: str) -> None:
    """Those that came while nobody looked are the first ones of the next who does."""
    taken: list[Sequence[Mapping[str, Any]]] = []

    async def story() -> None:
        took = asyncio.Event()

        def take(mails: Sequence[Mapping[str, Any]]) -> None:
            taken.append(mails)
            took.set()

        mails = Mails(url, take)
        for subjects in (["first", "second"], ["third"]):
            for subject in subjects:
                mailbox.add(envelope(subject=subject))
            took.clear()
            await read(mails, took)

    asyncio.run(story())

    assert [["first", "second"], ["third"]] == [[mail["subject"] for mail in some] for some in taken]
    assert set(module.SHOWN) == set(taken[0][0])


def test_a_long_mail_is_cut(mailbox: Mailbox, url: str) -> None:
    """Each of its parts: the page keeps fifty."""
    mailbox.add(envelope(text="long " * 10_000))
    taken: list[Mapping[str, Any]] = []

    async def story() -> None:
        took = asyncio.Event()

        def take(mails: Sequence[Mapping[str, Any]]) -> None:
            taken.extend(mails)
            took.set()

        await read(Mails(url, take), took)

    asyncio.run(story())

    assert module.CHARACTERS_MAX == len(taken[0]["text"])


def test_a_mail_catcher_that_is_unreachable_is_asked_again(
    mailbox: Mailbox, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mails are kept."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    mailbox.add(envelope(subject="kept"))
    asked: list[httpx.Request] = []

    async def away_at_first(request: httpx.Request) -> None:
        asked.append(request)
        if len(asked) < 3:
            raise httpx.ConnectError("unreachable")

    async def story() -> None:
        took = asyncio.Event()
        mails = Mails(url, lambda _: took.set())
        async with httpx.AsyncClient(trust_env=False, event_hooks={"request": [away_at_first]}) as client:
            reading = asyncio.create_task(mails.read_on(client))
            async with asyncio.timeout(SECONDS):
                await took.wait()
            reading.cancel()

    asyncio.run(story())

    assert 3 <= len(asked)
