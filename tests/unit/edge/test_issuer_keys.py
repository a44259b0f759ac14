"""The keys of the issuer: read from a safe place, rotated without a restart, kept in an outage."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from joserfc.jwk import ECKey, OctKey, RSAKey

from sidecart.edge import issuer_keys
from sidecart.edge.issuer_keys import DOCUMENT_BYTES_MAX, UNKNOWN_KEY_SECONDS, IssuerKeys, get
from sidecart.edge.settings import is_safe
from tests.unit.edge.clock import run_jumping

ISSUER = "https://issuer.example"
JWKS = "https://keys.example/jwks"


def public(*key_ids: str) -> dict[str, Any]:
    """Return a JWKS document with new keys of these names."""
    return {"keys": [ECKey.generate_key("P-256", {"kid": each}).as_dict(private=False) for each in key_ids]}


class Issuer:
    """An issuer whose documents a test sets; it counts the requests."""

    def __init__(self, jwks: object) -> None:
        self.documents: dict[str, object] = {JWKS: jwks}
        self.requests: list[str] = []
        self.is_down = False

    def fetch(self, url: str) -> bytes:
        """Return a document."""
        self.requests.append(url)
        if self.is_down or url not in self.documents:
            raise OSError("down")
        return json.dumps(self.documents[url]).encode()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run on a clock that jumps, without threads, for which it would not wait."""

    async def directly(function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("sidecart.edge.issuer_keys.asyncio.to_thread", directly)
        run_jumping(scenario)


def test_a_new_key_is_found_without_a_restart_and_the_issuer_is_not_flooded() -> None:
    """An unknown key makes the gateway read again, at most once in a while."""
    issuer = Issuer(public("one"))

    async def scenario() -> None:
        keys = IssuerKeys(ISSUER, JWKS, issuer.fetch)
        await keys._read_once()
        assert (1, True) == (keys.version, keys.are_known)
        issuer.documents[JWKS] = public("one", "two")
        assert await keys.find("two") is not None
        assert 2 == keys.version
        for _ in range(100):
            assert await keys.find("forged") is None
        assert 2 == len(issuer.requests)
        await asyncio.sleep(UNKNOWN_KEY_SECONDS + 1)
        assert [None] * 50 == await asyncio.gather(*(keys.find("forged") for _ in range(50)))
        assert 3 == len(issuer.requests)

    run(scenario())


def test_the_keys_stay_while_the_issuer_is_unreachable() -> None:
    """Damaged documents count as an outage; a removed key is gone once the issuer answers."""
    issuer = Issuer(public("one"))

    async def scenario() -> None:
        keys = IssuerKeys(ISSUER, JWKS, issuer.fetch)
        await keys._read_once()
        issuer.is_down = True
        await keys._read_once()
        issuer.is_down = False
        broken: list[object] = [{}, [], {"keys": 7}, {"keys": []}, "text"]
        for damaged in broken:
            issuer.documents[JWKS] = damaged
            await keys._read_once()
        assert (1, True) == (keys.version, await keys.find("one") is not None)
        issuer.documents[JWKS] = public("two")
        await keys._read_once()
        assert await keys.find("one") is None

    run(scenario())


def test_the_keys_are_read_from_time_to_time_and_sooner_at_the_start() -> None:
    """A gateway that starts during an outage finds the keys soon after it."""
    issuer = Issuer(public("one"))
    issuer.is_down = True

    async def scenario() -> None:
        keys = IssuerKeys(ISSUER, JWKS, issuer.fetch)
        task = asyncio.create_task(keys.keep_current())
        await asyncio.sleep(3.5)
        issuer.is_down = False
        assert 0 == keys.version
        await asyncio.sleep(1.5)
        assert 1 == keys.version
        before = len(issuer.requests)
        await asyncio.sleep(issuer_keys.READ_SECONDS * 2 + 1)
        assert before + 2 == len(issuer.requests)
        task.cancel()

    run(scenario())


def test_discovery_names_the_keys_only_if_it_names_the_issuer() -> None:
    """Another issuer's document, or keys without https, are refused."""
    url = f"{ISSUER}/.well-known/openid-configuration"
    issuer = Issuer(public("one"))

    async def scenario() -> None:
        for document, known in (
            ({"issuer": "https://evil.example", "jwks_uri": JWKS}, False),
            ({"issuer": ISSUER, "jwks_uri": "http://keys.example/jwks"}, False),
            ({"issuer": ISSUER, "jwks_uri": 7}, False),
            ({"issuer": ISSUER}, False),
            ({"issuer": ISSUER, "jwks_uri": JWKS}, True),
        ):
            issuer.documents[url] = document
            keys = IssuerKeys(ISSUER, "", issuer.fetch)
            await keys._read_once()
            assert known == keys.are_known, document

    run(scenario())


def test_only_asymmetric_signing_keys_count() -> None:
    """A secret, an encryption key, a short RSA key and a damaged one are left out."""
    good = ECKey.generate_key("P-256", {"kid": "good"}).as_dict(private=False)
    secret = OctKey.generate_key(256, {"kid": "secret"}).as_dict(private=True)
    encryption = {**RSAKey.generate_key(2048).as_dict(private=False), "kid": "enc", "use": "enc"}
    short = {"kty": "RSA", "kid": "short", "n": "A" * 171, "e": "AQAB"}
    damaged = {"kty": "EC", "kid": "damaged", "crv": "P-256", "x": "!", "y": "!"}
    issuer = Issuer({"keys": [secret, encryption, short, damaged, "text", good]})

    async def scenario() -> None:
        keys = IssuerKeys(ISSUER, JWKS, issuer.fetch)
        await keys._read_once()
        assert ["good"] == list(keys._keys)
        assert await keys.find(None) is not None

    run(scenario())


def test_a_token_without_a_key_name_needs_an_issuer_with_one_key() -> None:
    """With two keys the name decides."""
    issuer = Issuer(public("one", "two"))

    async def scenario() -> None:
        keys = IssuerKeys(ISSUER, JWKS, issuer.fetch)
        await keys._read_once()
        assert await keys.find(None) is None

    run(scenario())


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://issuer.example/realm", True),
        ("http://127.0.0.1:8030/jwks.json", True),
        ("http://localhost:8030", True),
        ("http://issuer.localhost", True),
        ("http://issuer:8030/jwks.json", True),
        ("http://0x7f000001/", False),
        ("http://issuer.example", False),
        ("http://127.0.0.1.example", False),
        ("http://localhost@evil.example", False),
        ("https://", False),
        ("file:///etc/passwd", False),
        ("ftp://127.0.0.1/", False),
        ("issuer.example", False),
        ("http://[::1", False),
    ],
)
def test_documents_come_from_https_or_this_machine(url: str, expected: bool) -> None:
    """No one on the network may replace the keys."""
    assert expected == is_safe(url)


class Handler(BaseHTTPRequestHandler):
    """Answers with a redirect, a long body, or an error."""

    def do_GET(self) -> None:
        """Answer by the path."""
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("location", "/short")
            self.end_headers()
            return
        self.send_response(500 if self.path == "/error" else 200)
        self.end_headers()
        self.wfile.write(b"x" * (DOCUMENT_BYTES_MAX + 1) if self.path == "/long" else b"{}")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def url() -> Iterator[str]:
    """The address of a server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_redirect_an_error_and_a_long_document_are_refused(url: str) -> None:
    """A redirect could leave https."""
    assert b"{}" == get(f"{url}/short")
    for path in ("/moved", "/error", "/long"):
        with pytest.raises(OSError, match=r"302|500|262144"):
            get(f"{url}{path}")
