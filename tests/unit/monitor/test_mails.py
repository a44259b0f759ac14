"""Mails are read through the mail catcher's HTTP API, each one once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import ThreadingHTTPServer
from typing import Any, NoReturn

import httpx
import pytest

from sidecart.launcher.servers.mail_http import http_side
from sidecart.launcher.servers.mail_smtp import SmtpSide
from sidecart.launcher.servers.mailbox import Mailbox
from sidecart.monitor import mails as module
from sidecart.monitor.mails import Mails
from tests.unit.launcher.servers.test_mailbox import envelope

SECONDS = 30


@pytest.fixture
def mailbox() -> Mailbox:
    """An empty mailbox."""
    return Mailbox()


@pytest.fixture
def url(mailbox: Mailbox) -> Iterator[str]:
    """The address of a mail catcher with this mailbox."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), http_side(mailbox, SmtpSide(mailbox)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


async def read(mails: Mails, received: asyncio.Event) -> None:
    """Read until a mail arrives, then cancel."""
    async with httpx.AsyncClient(trust_env=False) as client:
        reading = asyncio.create_task(mails.read_on(client))
        async with asyncio.timeout(SECONDS):
            await received.wait()
        reading.cancel()


def test_each_mail_is_read_once_across_sessions(mailbox: Mailbox, url: str) -> None:
    """The next session starts with the mails that arrived between the sessions."""
    taken: list[Sequence[Mapping[str, Any]]] = []

    async def story() -> None:
        received = asyncio.Event()

        def take(mails: Sequence[Mapping[str, Any]]) -> None:
            taken.append(mails)
            received.set()

        mails = Mails(url, take)
        for subjects in (["first", "second"], ["third"]):
            for subject in subjects:
                mailbox.add(envelope(subject=subject))
            received.clear()
            await read(mails, received)

    asyncio.run(story())

    assert [["first", "second"], ["third"]] == [[mail["subject"] for mail in some] for some in taken]
    assert set(module.SHOWN) == set(taken[0][0])


def test_a_long_mail_is_truncated(mailbox: Mailbox, url: str) -> None:
    """Each of its parts is limited, because the page shows up to 50 mails."""
    mailbox.add(envelope(text="long " * 10_000))
    taken: list[Mapping[str, Any]] = []

    async def story() -> None:
        received = asyncio.Event()

        def take(mails: Sequence[Mapping[str, Any]]) -> None:
            taken.extend(mails)
            received.set()

        await read(Mails(url, take), received)

    asyncio.run(story())

    assert module.CHARACTERS_MAX == len(taken[0]["text"])


def test_an_unreachable_mail_catcher_is_queried_again(
    mailbox: Mailbox, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mail catcher keeps its mails meanwhile."""
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.01)
    mailbox.add(envelope(subject="kept"))
    requests: list[httpx.Request] = []

    async def fail_at_first(request: httpx.Request) -> None:
        requests.append(request)
        if len(requests) < 3:
            raise httpx.ConnectError("unreachable")

    async def story() -> None:
        received = asyncio.Event()
        mails = Mails(url, lambda _: received.set())
        async with httpx.AsyncClient(trust_env=False, event_hooks={"request": [fail_at_first]}) as client:
            reading = asyncio.create_task(mails.read_on(client))
            async with asyncio.timeout(SECONDS):
                await received.wait()
            reading.cancel()

    asyncio.run(story())

    assert 3 <= len(requests)


def test_the_mail_catcher_sees_a_caller_of_its_own_machine() -> None:
    """In containers its address has a name that it refuses."""
    hosts: list[str] = []

    async def story() -> None:
        received = asyncio.Event()

        def answer(request: httpx.Request) -> NoReturn:
            hosts.append(request.headers["host"])
            received.set()
            raise httpx.ConnectError("no second answer")

        async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
            reading = asyncio.create_task(Mails("http://mail:8025", lambda _: None).read_on(client))
            async with asyncio.timeout(SECONDS):
                await received.wait()
            reading.cancel()

    asyncio.run(story())
    assert {"localhost"} == set(hosts)
