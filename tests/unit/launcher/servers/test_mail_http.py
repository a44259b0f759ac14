"""The mail catcher's page and its HTTP interface."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import httpx
import pytest

from sidecart.launcher.servers.mail_http import _page, http_side
from sidecart.launcher.servers.mail_smtp import SmtpSide
from sidecart.launcher.servers.mailbox import Mailbox
from tests.unit.launcher.servers.test_mailbox import envelope


@pytest.fixture
def mailbox() -> Mailbox:
    """A mailbox with two mails."""
    mailbox = Mailbox()
    mailbox.add(envelope("ada@example.com"))
    mailbox.add(envelope("bob@example.com"))
    return mailbox


@pytest.fixture
def client(mailbox: Mailbox) -> Iterator[httpx.Client]:
    """A client of a server with this mailbox."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), http_side(mailbox, SmtpSide(mailbox)))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_address[1]}", trust_env=False) as opened:
        yield opened
    server.shutdown()
    server.server_close()


def test_the_page_shows_text_and_runs_nothing() -> None:
    """A mail is untrusted content, so its markup is escaped."""
    mailbox = Mailbox()
    mailbox.add(envelope(subject="<script>alert(1)</script>"))

    assert "<script>" not in _page(*mailbox.newest(10))


@pytest.mark.parametrize(
    ("path", "ids"),
    [
        ("/mails", [1, 2]),
        ("/mails?to=bob@example.com", [2]),
        ("/mails?short=1", [1, 2]),
        ("/mails?after=1", [2]),
        (f"/mails?after={'9' * 5000}&wait=1", [1, 2]),
        (f"/mails?after=1&wait={'9' * 5000}", [1, 2]),
    ],
)
def test_mails_are_listed_as_the_query_asks(client: httpx.Client, path: str, ids: list[int]) -> None:
    """One recipient's mails, a short form, or those after an id."""
    assert ids == [mail["id"] for mail in client.get(path).json()]


def test_one_mail_is_shown_as_json_and_as_html(client: httpx.Client) -> None:
    """An unknown mail is 404, and HEAD has no content."""
    assert "ada@example.com" == client.get("/mails/1").json()["to"]
    assert "<p>Good news</p>" in client.get("/mails/1/html").text
    assert (404, 404) == (client.get("/mails/9").status_code, client.get("/mails/x/html").status_code)
    assert (200, "") == (client.head("/").status_code, client.head("/").text)


def test_a_mail_may_load_nothing(client: httpx.Client) -> None:
    """The browser shows the mail's own HTML, and nothing else."""
    assert client.get("/mails/1/html").headers["content-security-policy"].startswith("default-src 'none'")


def test_all_mails_are_deleted(client: httpx.Client, mailbox: Mailbox) -> None:
    """No other path can be deleted."""
    assert 404 == client.delete("/mails/1").status_code
    assert 204 == client.delete("/mails").status_code
    assert [] == mailbox.all()


def test_a_request_with_a_body_ends_the_connection(client: httpx.Client) -> None:
    """The server does not read the body, so it must not parse it as the next request."""
    assert "close" == client.request("GET", "/mails", content=b"{}").headers["connection"]
    assert "connection" not in client.get("/mails").headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8025", "localhost.evil.example:8025", ""])
@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_foreign_host_name_is_rejected(client: httpx.Client, mailbox: Mailbox, method: str, host: str) -> None:
    """DNS rebinding would otherwise let a foreign page read or delete all mails."""
    answer = client.request(method, "/mails", headers={"host": host})

    assert 421 == answer.status_code
    assert "ada@example.com" not in answer.text
    assert 2 == len(mailbox.all())


@pytest.mark.parametrize("host", ["localhost:8025", "127.0.0.1", "[::1]:8025"])
def test_the_names_of_this_machine_are_accepted(client: httpx.Client, host: str) -> None:
    """A container publishes the port under another number."""
    assert 200 == client.get("/mails", headers={"host": host}).status_code
