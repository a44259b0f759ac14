"""The mail catcher's HTTP side: shows the mails to people and programs."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sidecart.chassis.server.request_head import LOOPBACK_HOSTS, host_name
from sidecart.launcher.servers.bounded import BoundedHttpServer
from sidecart.launcher.servers.mail_smtp import SmtpSide
from sidecart.launcher.servers.mailbox import SHOWN_MAX, Mail, Mailbox

WAIT_SECONDS_MAX = 60.0
"""How long a request for new mails is held at most."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""A mail is untrusted content: the browser shows it, but it may load or run nothing."""
DIGITS_MAX = 18
PAGE = """\
<!doctype html><html lang=en><meta charset=utf-8><title>Mails</title><style>body{{font:16px/1.5 sans-serif;\
max-width:50rem;margin:2rem auto;padding:0 1rem}}details{{border-bottom:1px solid #ccc;padding:.5rem 0}}\
pre{{white-space:pre-wrap;background:#f6f6f6;padding:1rem}}small{{color:#666}}</style>\
<h1>{number} mails</h1>{rows}</html>"""

Query = dict[str, list[str]]


def http_side(mailbox: Mailbox, smtp: SmtpSide) -> Callable[..., MailHandler]:
    """Make the handler of a server's requests."""
    return partial(MailHandler, mailbox, smtp)


class MailHandler(BaseHTTPRequestHandler):
    """Answers the requests of one connection.

    GET /, /recipients, /mails[?to=|?short=1|?after=<id>&wait=<seconds>], /mails/<id>,
    /mails/<id>/html; DELETE /mails.
    """

    protocol_version = "HTTP/1.1"

    def __init__(self, mailbox: Mailbox, smtp: SmtpSide, *connection: Any) -> None:
        self._mailbox = mailbox
        self._smtp = smtp
        super().__init__(*connection)  # answers all requests of the connection

    def do_GET(self) -> None:
        """Answer with a page, a mail, or a list."""
        with answering(self):
            if self._is_addressed():
                self._get()

    def do_HEAD(self) -> None:
        """Answer as to a GET, without the content."""
        self.do_GET()

    def do_DELETE(self) -> None:
        """Delete all mails."""
        with answering(self):
            if not self._is_addressed():
                return
            if urlsplit(self.path).path.rstrip("/") == "/mails":
                self._mailbox.clear()
                self._answer(204, "text/plain", "")
            else:
                self._json(404, {"detail": "only /mails can be deleted"})

    def _is_addressed(self) -> bool:
        """Return whether the request names this machine; answer 421 if it does not.

        A web page whose name was made to resolve to this machine would read all mails.
        """
        hosts = self.headers.get_all("Host", [])
        if all(host_name(host.lower()) in LOOPBACK_HOSTS for host in hosts):
            return True
        self._json(421, {"detail": f"the mails are at {', '.join(LOOPBACK_HOSTS)} only"})
        return False

    def _get(self) -> None:
        url = urlsplit(self.path)
        match url.path.strip("/").split("/"):
            case [""]:
                self._answer(200, "text/html", _page(*self._mailbox.newest(SHOWN_MAX)))
            case ["recipients"]:
                self._json(200, {"recipients": self._smtp.recipients})
            case ["mails"]:
                self._json(200, _listed(self._mailbox, parse_qs(url.query)))
            case ["mails", mail_id] if mail := self._mailbox.one(mail_id):
                self._json(200, mail.as_json())
            case ["mails", mail_id, "html"] if mail := self._mailbox.one(mail_id):
                self._answer(200, "text/html", mail.html or f"<pre>{html.escape(mail.text)}</pre>")
            case _:
                self._json(404, {"detail": "no such mail"})

    def _json(self, status: int, body: object) -> None:
        self._answer(status, "application/json", json.dumps(body))

    def _answer(self, status: int, kind: str, body: str) -> None:
        content = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", POLICY)
        if "Content-Length" in self.headers or "Transfer-Encoding" in self.headers:
            # the server does not read the request's body, and must not parse it as the next request
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the log is for mails."""


def answering(handler: BaseHTTPRequestHandler) -> AbstractContextManager[None]:
    """Keep the connection open during the response if the server may close idle connections."""
    server = handler.server
    return server.answering(handler.connection) if isinstance(server, BoundedHttpServer) else nullcontext()


def _listed(mailbox: Mailbox, query: Query) -> list[dict[str, object]]:
    if "short" in query:
        return mailbox.short()
    if "after" in query:
        return _new(mailbox, query)
    return [mail.as_json() for mail in mailbox.all(query.get("to", [None])[0])]


def _new(mailbox: Mailbox, query: Query) -> list[dict[str, object]]:
    """Return the mails after an id. A malformed query returns all mails without waiting."""
    after, wait = (query.get(name, ["0"])[0] for name in ("after", "wait"))
    if not all(each.isdecimal() and len(each) <= DIGITS_MAX for each in (after, wait)):
        return [mail.as_json() for mail in mailbox.after(0, 0)]
    return [mail.as_json() for mail in mailbox.after(int(after), min(int(wait), WAIT_SECONDS_MAX))]


def _page(number: int, mails: list[Mail]) -> str:
    rows = "".join(
        f"<details><summary><b>{html.escape(mail.subject)}</b> to {html.escape(mail.to)}"
        f" <small>{html.escape(mail.date)} {html.escape(mail.message_id)}</small></summary>"
        f'<pre>{html.escape(mail.text)}</pre><p><a href="/mails/{mail.id}/html">as HTML</a></p></details>'
        for mail in mails
    )
    return PAGE.format(number=number, rows=rows or "<p>None yet.</p>")
