"""Tests with raw bytes at every address of a shop, and through the proxy: each request gets exactly
one response.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from shop.acting import acting
from sidecart.chassis.server.request_head import HEAD_BYTES_MAX
from sidecart.launcher import monitor, proxy
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import GATEWAY, service_ids
from sidecart.launcher.topology import metrics_of, replicas_of
from tests.contracts.validate import http_problems
from tests.e2e.conftest import options
from tests.e2e.live_client import cookie_of
from tests.e2e.raw import CLOSED, HOST, LAST, OFFERED, READ, REFUSED, Answered, exchange, get, responses
from tests.e2e.shopper import SECONDS

GATEWAYS = replicas_of(GATEWAY, 2)
OURS = (*GATEWAYS, *service_ids(), metrics_of("order"), metrics_of(GATEWAYS[0]), monitor.NAME)
"""The addresses that the chassis' HTTP server serves."""
USER = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
READABLE = (
    *("/healthz", "/readyz", "/openapi.json", "/asyncapi.json", "/docs", "/docs/swagger-ui-bundle.js"),
    *(f"/user/{USER}", f"/order/{USER}", "/order/x", "/order/create", "/products", "/nowhere"),
)
VARY = ("date", "connection", "transfer-encoding")

pytestmark = pytest.mark.own_shop


@pytest.fixture(scope="module")
def framed_shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with two gateways behind one address, and with the live page."""
    folder = tmp_path_factory.mktemp("framing")
    with System(replace(options(folder), gateways=2, monitor=True), print) as running:
        yield running


def operator(shop: System) -> dict[str, str]:
    """Return the header of a caller who may read everything."""
    return acting(shop.issuer_folder).headers("/", {})


def raw(headers: dict[str, str]) -> bytes:
    """Return headers as the bytes of a request."""
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()


def must_be_rejected(answers: list[Answered]) -> None:
    """Check that the only response is the server's own 400, and that the connection closes."""
    assert [400] == [each.status for each in answers]
    assert "close" == answers[0].headers["connection"]
    assert [] == http_problems("problem", json.loads(answers[0].body))


@pytest.mark.attack("requests", "smuggle a request to each app", "request framing")
@pytest.mark.parametrize("name", OURS)
def test_every_address_gives_one_response_per_request(framed_shop: System, name: str) -> None:
    """A body is never read as a second request, and a malformed request ends the connection."""
    port = framed_shop.ports[name]
    for what, sent, seen in READ:
        answers = exchange(port, sent + LAST, [each.split()[0] for each in seen])
        assert (what, len(seen) + 1) == (what, len(answers))
        assert 400 not in [each.status for each in answers], what
    for what, sent, _ in CLOSED:
        assert (what, 1) == (what, len(exchange(port, sent + LAST)))
    for _, sent in REFUSED:
        must_be_rejected(exchange(port, sent + LAST))


@pytest.mark.attack("requests", "smuggle a request through the proxy", "request framing")
def test_the_proxy_gives_one_response_per_request(framed_shop: System) -> None:
    """Proxy and gateway agree on the requests, however the bytes are split; bytes after a rejection
    are never a body.
    """
    port = framed_shop.ports[proxy.NAME]
    for what, sent, seen in READ:
        methods = [each.split()[0] for each in seen]
        whole = exchange(port, sent + LAST, methods)
        assert (what, len(seen) + 1) == (what, len(whole))
        assert 400 not in [each.status for each in whole], what
        cut = exchange(port, sent + LAST, methods, pieces=len(sent + LAST))
        assert (what, [each.status for each in whole]) == (what, [each.status for each in cut])
    for what, sent in REFUSED:
        answers = exchange(port, sent + LAST)
        assert len(answers) <= 2, (what, answers)
        assert {each.status for each in answers} <= {400, 404, 405, 415, 421, 422}, (what, answers)


@pytest.mark.parametrize("name", [proxy.NAME, GATEWAYS[0]])
@pytest.mark.parametrize(
    ("first", "headers", "status"),
    [
        ("POST /nowhere", b"", 404),
        ("POST /order/create", None, 401),
        ("POST /order/x", b"", 405),
        ("POST /order/create", b"content-type: text/plain\r\n", 415),
        ("POST /order/create", b"prefer: wait=x\r\ncontent-type: application/json\r\nidempotency-key: \r\n", 400),
        ("POST /events/replies/UserCreated", b"", 403),
        ("GET /healthz", b"", 200),
    ],
    ids=str,
)
def test_an_early_answer_waits_for_the_end_of_the_body(
    framed_shop: System, name: str, first: str, headers: bytes | None, status: int
) -> None:
    """A slow caller gets the response and the next one, because a proxy would close a connection
    answered early. Without `headers` it sends no token.
    """
    body = b"x" * 40
    sent = b"" if headers is None else headers + raw(operator(framed_shop))
    head = first.encode() + b" HTTP/1.1\r\n" + HOST + sent + b"content-length: %d\r\n\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", framed_shop.ports[name]), SECONDS) as connection:
        connection.sendall(head + body[:1])
        connection.settimeout(0.5)
        with pytest.raises(TimeoutError):  # there is no response before the end of the body
            connection.recv(1)
        connection.settimeout(SECONDS)
        connection.sendall(body[1:] + LAST)
        received = b"".join(iter(lambda: connection.recv(65536), b""))

    assert [status, 404] == [each.status for each in responses(received)]


def test_a_registration_with_an_upgrade_offer_succeeds(framed_shop: System) -> None:
    """The registration returns 201 with and without the proxy, whole and byte by byte."""
    for port in (framed_shop.ports[proxy.NAME], framed_shop.ports[GATEWAYS[0]]):
        for pieces in (1, 1_000):
            registration = {"email": f"ann{port}-{pieces}@example.com", "name": "Ann"}
            body = json.dumps(registration).encode()
            token = acting(framed_shop.issuer_folder).headers("/user/register", registration)
            head = b"POST /user/register HTTP/1.1\r\n" + HOST + OFFERED + b"content-type: application/json\r\n"
            sent = head + raw(token) + b"content-length: %d\r\n\r\n" % len(body) + body + LAST
            assert [201, 404] == [each.status for each in exchange(port, sent, pieces=pieces)]


@pytest.mark.parametrize("name", [proxy.NAME, GATEWAYS[0]])
@pytest.mark.parametrize("path", READABLE)
def test_head_equals_get_without_the_content(framed_shop: System, name: str, path: str) -> None:
    """HEAD has the status and headers of GET and no body, so that the next response follows
    directly.
    """
    url = f"http://127.0.0.1:{framed_shop.ports[name]}{path}"
    headers = operator(framed_shop)
    with httpx.Client(timeout=SECONDS, trust_env=False, headers={"accept-encoding": "identity", **headers}) as http:
        got, head = http.get(url), http.head(url)
    sent = get(HOST + raw(headers), target=path.encode(), method=b"HEAD") + LAST
    both = exchange(framed_shop.ports[name], sent, ["HEAD"])

    assert got.status_code == head.status_code
    assert fixed(got) == fixed(head)
    assert str(len(got.content)) == head.headers["content-length"]
    assert [got.status_code, 404] == [each.status for each in both]


@pytest.mark.parametrize("name", [*OURS[2:], "mail-http"])
def test_head_works_at_the_other_addresses(framed_shop: System, name: str) -> None:
    """HEAD works at services, metrics, mails, the live page, and its event stream, which never ends
    for GET.
    """
    path = {metrics_of("order"): "/metrics", metrics_of(GATEWAYS[0]): "/metrics", monitor.NAME: "/", "mail-http": "/"}
    paths = [path.get(name, "/healthz"), *(["/live"] if name == monitor.NAME else [])]
    headers = {"dapr-api-token": framed_shop.tokens.get(name, "")}
    if name == monitor.NAME:
        headers["cookie"] = cookie_of(framed_shop.monitor_url)
    for each in paths:
        answer = httpx.head(
            f"http://127.0.0.1:{framed_shop.ports[name]}{each}", headers=headers, timeout=SECONDS, trust_env=False
        )
        assert 200 == answer.status_code


def fixed(answer: httpx.Response) -> dict[str, str]:
    """Return the headers that do not vary between responses."""
    return {name: value for name, value in answer.headers.items() if name not in VARY}


@pytest.mark.parametrize("kib", [1, 15, 16, 32, 60])
def test_a_head_within_the_limit_passes_the_proxy(framed_shop: System, kib: int) -> None:
    """The proxy passes every head that a gateway accepts."""
    sent = get(HOST + b"x: " + b"a" * (kib * 1024) + b"\r\n", target=b"/healthz") + LAST
    for name in (proxy.NAME, GATEWAYS[0]):
        assert [200, 404] == [each.status for each in exchange(framed_shop.ports[name], sent)]


@pytest.mark.attack("requests", "send a head beyond the limit", "size limits")
@pytest.mark.parametrize("size", [HEAD_BYTES_MAX + 1, HEAD_BYTES_MAX + 1024, 100 * 1024])
def test_a_head_beyond_the_limit_is_431_with_and_without_the_proxy(framed_shop: System, size: int) -> None:
    """The gateway rejects the head with its own problem, through the proxy too."""
    sent = get(HOST + b"x: " + b"a" * size + b"\r\n", target=b"/healthz")
    for name in (proxy.NAME, GATEWAYS[0]):
        answer, *_ = exchange(framed_shop.ports[name], sent + LAST)
        assert 431 == answer.status
        assert [] == http_problems("problem", json.loads(answer.body))


def test_without_a_gateway_the_proxy_returns_a_problem(framed_shop: System) -> None:
    """The proxy returns 503 with Retry-After in the gateway's form. This test stops the gateways,
    so it is the last.
    """
    for name in GATEWAYS:
        framed_shop.stop_app(name)
    answer = httpx.get(f"{framed_shop.url}/user/{USER}", timeout=SECONDS, trust_env=False)

    assert (503, "1") == (answer.status_code, answer.headers["retry-after"])
    assert "application/problem+json" == answer.headers["content-type"]
    assert "urn:sidecart:problem:unavailable" == answer.json()["type"]
    assert [] == http_problems("problem", answer.json())
