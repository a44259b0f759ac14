"""The people of an attack: a caller with money, another caller who attacks, and the attacker's
server.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

from sidecart.chassis.events import now, timestamp
from sidecart.issuer import keys
from tests.contracts.validate import http_problems
from tests.e2e.forgery import Forger
from tests.e2e.shopper import TEA, TEA_CENTS, Shopper, new_address

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Trap(ThreadingHTTPServer):
    """A server of the attacker, which the gateway must never ask; a context manager."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _TrapHandler)
        self.asked: list[str] = []
        """The paths of the requests."""
        self.document: dict[str, Any] = {}
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        """The server's address."""
        return f"http://127.0.0.1:{self.server_port}"


class _TrapHandler(BaseHTTPRequestHandler):
    server: Trap

    def do_GET(self) -> None:
        """Note the path, and answer with the attacker's document."""
        self.server.asked.append(self.path)
        content = json.dumps(self.server.document).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@dataclass(slots=True)
class Victim:
    """A registered caller with money and an order, and the attacker's tokens for that caller."""

    user_id: str
    email: str
    order_id: str
    deposit_id: str
    forger: Forger
    asked: list[str] = field(default_factory=list)
    """The paths that the gateway asked the attacker's server for."""

    @property
    def own_paths(self) -> list[str]:
        """The paths that name the victim."""
        account = f"/account/{self.user_id}"
        return [
            *(f"/user/{self.user_id}", account, f"{account}/deposit/{self.deposit_id}"),
            f"/notification/{self.user_id}",
        ]

    @property
    def reads(self) -> list[str]:
        """The paths of everything that the victim owns."""
        return [*self.own_paths, f"/order/{self.order_id}"]

    @property
    def commands(self) -> dict[str, dict[str, Any]]:
        """A valid body for each command."""
        return {
            "/user/register": {"email": new_address(), "name": "Ann"},
            "/account/deposit": {"user_id": self.user_id, "amount_cents": 7},
            "/order/create": {"user_id": self.user_id, "items": [TEA]},
        }


@dataclass(frozen=True, slots=True)
class Eve:
    """A registered caller who attacks."""

    user_id: str
    email: str
    headers: dict[str, str]


@contextmanager
def victim_of(shopper: Shopper) -> Iterator[Victim]:
    """Register a caller who orders, and start the attacker's server."""
    email = new_address()
    user_id = shopper.register(email=email)["user_id"]
    deposit_id = shopper.deposit(user_id, 10 * TEA_CENTS)["deposit_id"]
    order_id = shopper.order(user_id).json()["order_id"]
    assert "OrderPaid" == shopper.final(order_id)
    shopper.until(lambda: shopper.http.get(f"/notification/{user_id}").status_code == 200, "the contact")
    with Trap() as trap:
        forger = Forger(keys.load(shopper.shop.issuer_folder), email, trap.url)
        trap.document = {"keys": [forger.own_jwk() | {"kid": "mine"}]}
        yield Victim(user_id, email, order_id, deposit_id, forger, trap.asked)
        trap.shutdown()


def is_command(event: dict[str, Any], began: str) -> bool:
    """Tell whether the gateway made this event since then.

    Other tests publish in the gateway's name without a subject or with a text as the time, and
    their events may arrive at any time. A command always has both, and its time is a timestamp.
    """
    time = str(event.get("time"))
    return event.get("source") == "gateway" and "subject" in event and bool(TIMESTAMP.fullmatch(time)) and time >= began


@contextmanager
def nothing_published(shopper: Shopper) -> Iterator[None]:
    """Fail if the gateway publishes anything during the block.

    A valid registration marks the end: its command passes, and no other does.
    """
    began = timestamp(now())  # the tap may show an earlier command later
    yield
    marker = shopper.register()["user_id"]
    found = shopper.tap.wait(
        lambda seen: (seen.event.get("subject"), seen.event.get("source")) == (marker, "gateway"), 10
    )
    assert found is not None, "the marker did not pass"
    others = [one.event for one in shopper.tap.seen if is_command(one.event, began) and one.event["subject"] != marker]
    assert [] == others, f"the gateway published {others}"


def must_be_refused(answer: httpx.Response, status: int, kind: str, **challenge: str) -> None:
    """Check a problem, its header WWW-Authenticate, and that it shows nothing of a resource."""
    assert (status, f"urn:sidecart:problem:{kind}") == (answer.status_code, answer.json()["type"]), answer.text
    assert "application/problem+json" == answer.headers["content-type"]
    assert [] == http_problems("problem", answer.json())
    sent = answer.headers["www-authenticate"]
    assert sent.startswith('Bearer realm="gateway"')
    assert [] == [name for name, value in challenge.items() if f'{name}="{value}"' not in sent]
    assert set(answer.json()) <= {"type", "title", "status", "detail", "trace_id", "errors"}
