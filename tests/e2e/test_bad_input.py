"""Tests of invalid requests: each gets a problem that names every defect, causes no event, and
never a 5xx.
"""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sidecart.edge.callers import caller_id
from sidecart.issuer import keys, tokens
from tests.contracts.validate import http_problems
from tests.e2e.attack import nothing_published
from tests.e2e.shopper import TEA, Shopper, new_address

JSON = {"content-type": "application/json"}
ADDRESS = "ann@example.com"
USER = caller_id(tokens.ISSUER, tokens.subject_of(ADDRESS))
"""A caller who is not registered."""
REGISTER = {"email": ADDRESS, "name": "Ann"}
DEPOSIT = {"user_id": USER, "amount_cents": 1}
ORDER = {"user_id": USER, "items": [TEA]}
DECIDED = {"/user/register": "email", "/account/deposit": "", "/order/create": "user_id"}
"""The field that the caller's token decides, so a body may leave it out."""
BODIES: dict[str, dict[str, Any]] = {"/user/register": REGISTER, "/account/deposit": DEPOSIT, "/order/create": ORDER}
PATHS = tuple(BODIES)
MIB = 1024 * 1024
WRONG_IDS = ("", "x", USER.replace("-", ""), f"{{{USER}}}", f"{USER} ", f"{USER}\n")
WRONG_EVERYWHERE: tuple[Any, ...] = (None, True, 1.5, [], {}, "")


def field_cases() -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Yield a path, a body with a defect, and the JSON pointers that the problem must name."""
    for path, body in BODIES.items():
        yield path, {}, [f"/{name}" for name in body if name != DECIDED[path]]
        yield path, body | {"extra": 1, "x/y~z": 2}, ["/extra", "/x~1y~0z"]
        for name in body:
            for value in WRONG_EVERYWHERE:
                if (name, value) != (DECIDED[path], ""):  # another caller than the token's
                    yield path, body | {name: value}, [f"/{name}"]
    for email in (
        *(
            "ann",
            "@example.com",
            "ann@",
            "ann@@example.com",
            "ann@exa mple.com",
            "ann@example.com\r\nBcc: eve@example.com",
        ),
        *(
            "ann\x00@example.com",
            "ann@example.com\n",
            f"{'a' * 65}@example.com",
            f"a@{'b' * 250}.com",
            "<ann@example.com>",
        ),
        *(
            "Ann <ann@example.com>",
            "ann@example.com,eve@example.com",
            "ann@[127.0.0.1]",
            "zoë@example.com",
            "ann@-x.com",
        ),
    ):
        yield "/user/register", REGISTER | {"email": email}, ["/email"]
    for name in ("\r\nBcc: eve@example.com", "a\x00b", "a\u2028b", " ", "x" * 201, "\x7f", "\u202emoc.live"):
        yield "/user/register", REGISTER | {"name": name}, ["/name"]
    yield "/user/register", {"email": 5, "name": "", "admin": True}, ["/email", "/name", "/admin"]
    for user_id in (*WRONG_IDS, USER.upper(), 7):
        yield "/account/deposit", DEPOSIT | {"user_id": user_id}, ["/user_id"]
    yield "/order/create", ORDER | {"user_id": 7}, ["/user_id"]
    for cents in (0, -1, 0.5, 1.0, 10**12, 2**53, 2**63, 10**100, "1", False):
        yield "/account/deposit", DEPOSIT | {"amount_cents": cents}, ["/amount_cents"]
    for quantity in (0, -1, 1.0, 2.5, 10_001, 10**30, "2", True, None):
        yield "/order/create", ORDER | {"items": [TEA, TEA | {"quantity": quantity}]}, ["/items/1/quantity"]
    for price in (-1, 1.0, 10**9 + 1, 10**30, "1", True, None):
        yield "/order/create", ORDER | {"items": [TEA | {"unit_price_cents": price}]}, ["/items/0/unit_price_cents"]
    for sku in ("", " ", "x" * 65, "a\r\nb", "\x00", 5, None):
        yield "/order/create", ORDER | {"items": [TEA | {"sku": sku}]}, ["/items/0/sku"]
    yield "/order/create", ORDER | {"items": [TEA] * 101}, ["/items"]
    yield "/order/create", ORDER | {"items": ["tea", 5, None, [TEA]]}, [f"/items/{number}" for number in range(4)]
    yield "/order/create", ORDER | {"items": [TEA | {"discount": 1}]}, ["/items/0/discount"]
    yield "/order/create", ORDER | {"items": [TEA | {"quantity": 10_000, "unit_price_cents": 10**9}]}, [""]


# name, body, headers, status, problem type
RAW: list[tuple[str, bytes, dict[str, str], int, str]] = [
    ("empty", b"", JSON, 400, "not_json"),
    ("half", b'{"email": ', JSON, 400, "not_json"),
    ("two", b"{}{}", JSON, 400, "not_json"),
    ("xml", b"<a/>", JSON, 400, "not_json"),
    ("NaN", b'{"amount_cents": NaN}', JSON, 400, "not_json"),
    ("Infinity", b'{"amount_cents": -Infinity}', JSON, 400, "not_json"),
    ("a number over all limits", b'{"amount_cents": 1e999}', JSON, 422, "invalid"),
    ("a number of 10,000 digits", b'{"amount_cents": ' + b"9" * 10_000 + b"}", JSON, 400, "not_json"),
    ("UTF-8 cut short", b'{"name": "\xc3"}', JSON, 400, "not_json"),
    ("Latin-1", '{"name": "é"}'.encode("latin-1"), JSON, 400, "not_json"),
    ("UTF-16", json.dumps(REGISTER).encode("utf-16"), JSON, 400, "not_json"),
    ("a byte order mark", b"\xef\xbb\xbf{}", JSON, 400, "not_json"),
    ("a lone surrogate", b'{"name": "\\ud800", "email": "a@example.com"}', JSON, 400, "not_json"),
    ("nested 30,000 deep", b"[" * 30_000 + b"]" * 30_000, JSON, 400, "not_json"),
    ("nested objects", b'{"a":' * 10_000 + b"1" + b"}" * 10_000, JSON, 400, "not_json"),
    ("no object", b"[1]", JSON, 422, "invalid"),
    ("a string", b'"x"', JSON, 422, "invalid"),
    ("null", b"null", JSON, 422, "invalid"),
    ("10,000 items", json.dumps(ORDER | {"items": [TEA] * 10_000}).encode(), JSON, 413, "too_large"),
    ("2 MiB", b" " * (2 * MIB), JSON, 413, "too_large"),
    ("8 MiB", b" " * (8 * MIB), JSON, 413, "too_large"),
    ("no type", b"{}", {}, 415, "unsupported_media_type"),
    ("text", b"{}", {"content-type": "text/plain"}, 415, "unsupported_media_type"),
    ("a form", b"a=1", {"content-type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"),
    (
        "declared as Latin-1",
        b"{}",
        {"content-type": "application/json; charset=latin-1"},
        415,
        "unsupported_media_type",
    ),
    ("zipped", b"\x1f\x8b", JSON | {"content-encoding": "gzip"}, 415, "unsupported_media_type"),
    ("a key with a space", b"{}", JSON | {"idempotency-key": "a b"}, 400, "bad_idempotency_key"),
    ("a key of 256", b"{}", JSON | {"idempotency-key": "k" * 256}, 400, "bad_idempotency_key"),
    ("an empty key", b"{}", JSON | {"idempotency-key": ""}, 400, "bad_idempotency_key"),
    ("headers of 70 KB", b"{}", JSON | {"x": "x" * 70_000}, 431, "head_too_large"),
]

ELSEWHERE: list[tuple[str, str, int, str | None]] = [  # method, path, status, Allow
    *(
        (method, path, 405, "POST")
        for path in PATHS
        for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
    ),
    *((method, f"/order/{USER}", 405, "GET, HEAD") for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS")),
    *((method, "/healthz", 405, "GET, HEAD") for method in ("POST", "DELETE")),
    *(("POST", f"{path}/", 404, None) for path in PATHS),
    *(
        ("GET", f"/{kind}/{odd}", 404, None)
        for kind in ("user", "order", "account", "notification")
        for odd in (
            *(
                "x",
                "0",
                "%00",
                "%0d%0aSet-Cookie:a",
                "..%2f..%2fdapr%2fsubscribe",
                "%ff%fe",
                USER.upper(),
                USER + "x",
                "*",
            ),
            *(USER.replace("-", ""), f"{USER}%20", f"%7B{USER}%7D", "x" * 2_000, "%F0%9F%8D%B5", f"{USER}/x"),
        )
    ),
    ("GET", f"/account/{USER}/deposit/x", 404, None),
    ("GET", f"/account/x/deposit/{USER}", 404, None),
    ("GET", f"/user/{USER}", 404, None),
    ("GET", f"/order/{USER}", 404, None),
    ("GET", "/", 404, None),
    ("GET", "/nowhere", 404, None),
    ("GET", "//order/create", 404, None),
    ("POST", "/order", 404, None),
]


@pytest.fixture(scope="module", autouse=True)
def no_event(request: pytest.FixtureRequest) -> Iterator[None]:
    """No request of this module publishes an event."""
    with (
        Shopper(request.getfixturevalue("shop"), request.getfixturevalue("tap")) as shopper,
        nothing_published(shopper),
    ):
        yield


def ann(shopper: Shopper) -> dict[str, str]:
    """Return the header of the caller with ADDRESS."""
    return {"authorization": f"Bearer {shopper.acting.token(ADDRESS, (), ())}"}


def headers_of(shopper: Shopper, path: str, body: dict[str, Any]) -> dict[str, str]:
    """Return the header of a caller whose token has the address of a body, whatever it is."""
    if path == "/account/deposit":
        return shopper.acting.headers(path, body)
    email = body.get("email")
    if path == "/order/create" or not isinstance(email, str):
        return ann(shopper)
    token = tokens.token(keys.load(shopper.shop.issuer_folder), email, subject=ADDRESS)
    return {"authorization": f"Bearer {token}"}


def must_be_a_problem(answer: httpx.Response, status: int, kind: str) -> None:
    """Check a response against the status, the type and the schema of problems."""
    assert status == answer.status_code, answer.text
    assert f"urn:sidecart:problem:{kind}" == answer.json()["type"]
    assert "application/problem+json" == answer.headers["content-type"]
    assert [] == http_problems("problem", answer.json())


def test_exactly_the_wrong_fields_are_named(shopper: Shopper) -> None:
    """The gateway returns 422 with a JSON pointer to each wrong field, and to no other."""
    cases = list(field_cases())
    for path, body, pointers in cases:
        answer = shopper.http.post(path, json=body, headers=headers_of(shopper, path, body))
        must_be_a_problem(answer, 422, "invalid")
        named = {error["pointer"] for error in answer.json()["errors"]}
        assert (path, body, set(pointers)) == (path, body, named)
    assert 100 < len(cases)


@pytest.mark.attack("other users", "a user id in the body that is not the token's", "identity of the body")
@pytest.mark.parametrize("user_id", [*WRONG_IDS, str(uuid.uuid4())])
def test_an_id_that_is_not_the_tokens_is_403(shopper: Shopper, user_id: str) -> None:
    """A text in place of the caller's id contradicts the token, also if it is no id."""
    answer = shopper.http.post("/order/create", json=ORDER | {"user_id": user_id}, headers=ann(shopper))

    must_be_a_problem(answer, 403, "forbidden")


@pytest.mark.attack("other users", "an address in the body that resembles the token's", "identity of the body")
@pytest.mark.parametrize("email", ["", "eve@example.com", "ann@example.com.evil.example", "ann@example.com "])
def test_an_address_that_is_not_the_tokens_is_403(shopper: Shopper, email: str) -> None:
    """A body cannot register another address than the token's."""
    answer = shopper.http.post("/user/register", json=REGISTER | {"email": email}, headers=ann(shopper))

    must_be_a_problem(answer, 403, "forbidden")


@pytest.mark.attack("requests", "send an unreadable body", "size limits")
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("content", "headers", "status", "kind"), [case[1:] for case in RAW], ids=[case[0] for case in RAW]
)
def test_an_unreadable_request_is_rejected_first(
    shopper: Shopper, path: str, content: bytes, headers: dict[str, str], status: int, kind: str
) -> None:
    """The gateway rejects an unreadable request with a problem, even when the body is far too
    large.
    """
    must_be_a_problem(shopper.http.post(path, content=content, headers=headers), status, kind)


@pytest.mark.parametrize(("method", "path", "status", "allow"), ELSEWHERE, ids=lambda value: str(value)[:40])
def test_a_wrong_method_or_path_is_405_or_404(
    shopper: Shopper, method: str, path: str, status: int, allow: str | None
) -> None:
    """The gateway returns 405 with Allow for a wrong method and 404 for a wrong path, and never
    redirects.
    """
    answer = shopper.http.request(method, f"{shopper.shop.url}{path}")

    must_be_a_problem(answer, status, {404: "not_found", 405: "method_not_allowed"}[status])
    assert allow == answer.headers.get("allow")


def test_two_keys_are_rejected(shopper: Shopper) -> None:
    """A request with two Idempotency-Keys is ambiguous, so the gateway returns 400."""
    headers = [("content-type", "application/json"), ("idempotency-key", "a"), ("idempotency-key", "b")]

    must_be_a_problem(shopper.http.post("/order/create", content=b"{}", headers=headers), 400, "bad_idempotency_key")


@pytest.mark.parametrize("path", ["/account/deposit", "/order/create"])
def test_an_unknown_user_is_404(shopper: Shopper, path: str) -> None:
    """The gateway asks the User Service before it publishes; an unknown user gets 404."""
    stranger = shopper.acting.add(new_address())

    must_be_a_problem(shopper.http.post(path, json=BODIES[path] | {"user_id": stranger}), 404, "not_found")


def test_a_truncated_body_has_no_effect(shopper: Shopper) -> None:
    """The connection ends in the middle of a body; the gateway serves on and logs no traceback."""

    def half() -> Iterator[bytes]:
        yield b'{"email": "ann@exa'
        raise ConnectionError("the caller disconnects")

    headers = JSON | shopper.acting.headers("/user/register", REGISTER)
    with pytest.raises(ConnectionError):
        # the client's own authentication would read the whole body first
        shopper.http.post("/user/register", content=half(), headers=headers, auth=httpx.Auth())

    assert 200 == shopper.http.get("/healthz").status_code
    assert "Traceback" not in (shopper.shop.logs / "gateway.log").read_text()
