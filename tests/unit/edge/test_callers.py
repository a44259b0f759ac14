"""The caller of a request comes from its token, and a verified token is remembered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

import pytest
from starlette.requests import Request

from sidecart.edge import callers
from sidecart.edge.callers import OPERATOR, Caller, Callers, Verified, caller_id, forbidden, unauthorized
from sidecart.edge.problems import Problem
from sidecart.edge.rate_limits import CallerLimits

ANN = Caller("ann")


class Verifier:
    """Accepts each token but `bad`, and counts."""

    def __init__(self, seconds: float = 60.0) -> None:
        self.verified: list[str] = []
        self.caller = ANN
        self.meanwhile: Callable[[], None] = lambda: None
        self._seconds = seconds

    async def verify(self, token: str) -> Verified:
        """Accept a token."""
        self.verified.append(token)
        self.meanwhile()
        if token == "bad":
            raise unauthorized("bad", "invalid_token")
        return Verified(self.caller, time.time() + self._seconds)


def request(*headers: str) -> Request:
    """Return a request with these Authorization headers."""
    return Request({"type": "http", "headers": [(b"authorization", each.encode("latin-1")) for each in headers]})


def ask(found: Callers, sent: Sequence[str]) -> Caller:
    """Return the caller of a request."""
    return asyncio.run(found.of(request(*sent)))


def test_a_verified_token_is_remembered_until_it_expires_or_the_keys_change() -> None:
    """A signature costs ten times as much as the lookup."""
    verifier = Verifier()
    found = Callers(verifier, CallerLimits(0, 0))
    assert [ANN] * 3 == [ask(found, ["Bearer t"]) for _ in range(3)]
    assert ["t"] == verifier.verified

    found.forget()
    assert ANN == ask(found, ["Bearer t"])
    assert ["t", "t"] == verifier.verified

    expired = Verifier(seconds=-1.0)
    again = Callers(expired, CallerLimits(0, 0))
    assert [ANN, ANN] == [ask(again, ["bearer t"]), ask(again, ["bearer t"])]
    assert ["t", "t"] == expired.verified


def test_a_token_that_is_verified_while_the_keys_change_is_not_remembered() -> None:
    """A key that was removed in the meantime may have verified it."""
    verifier = Verifier()
    found = Callers(verifier, CallerLimits(0, 0))
    verifier.meanwhile = found.forget

    assert [ANN] * 2 == [ask(found, ["Bearer t"]) for _ in range(2)]
    assert ["t", "t"] == verifier.verified


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token that was added first makes room."""
    monkeypatch.setattr(callers, "KNOWN_MAX", 2)
    verifier = Verifier()
    found = Callers(verifier, CallerLimits(0, 0))
    for token in ("a", "b", "c", "b", "a"):
        ask(found, [f"Bearer {token}"])

    assert ["a", "b", "c", "a"] == verifier.verified


def test_one_token_is_one_entry_in_memory() -> None:
    """However many blanks the header has, and in whatever case its scheme is."""
    verifier = Verifier()
    found = Callers(verifier, CallerLimits(0, 0))

    for header in ("Bearer t", "bearer t", "Bearer   t", f"Bearer {' ' * 60_000}t", "Bearer t  "):
        ask(found, [header])

    assert ["t"] == verifier.verified
    assert {"t"} == set(found._known)


def test_a_refused_token_is_not_remembered() -> None:
    """It is verified and refused each time."""
    found = Callers(Verifier(), CallerLimits(0, 0))

    for _ in range(2):
        with pytest.raises(Problem, match="bad"):
            ask(found, ["Bearer bad"])


@pytest.mark.parametrize(
    "sent",
    [(), ("Basic YTpi",), ("Bearer",), ("Bearer ",), ("Bearer a", "Bearer b"), ("Bearer " + "x" * 8193,), ("",)],
)
def test_a_request_without_one_bearer_token_has_no_caller(sent: tuple[str, ...]) -> None:
    """Two headers could be read differently by a proxy; a long one costs time."""
    verifier = Verifier()

    with pytest.raises(Problem) as refused:
        ask(Callers(verifier, CallerLimits(0, 0)), sent)

    assert 401 == refused.value.status
    assert refused.value.headers["WWW-Authenticate"].startswith('Bearer realm="gateway"')
    assert [] == verifier.verified


def test_a_caller_has_a_limit_and_an_operator_has_none() -> None:
    """The limit counts the caller, whichever of its tokens it sends."""
    verifier = Verifier()
    found = Callers(verifier, CallerLimits(2, 0))
    for token in ("Bearer a", "Bearer b"):
        assert ANN == ask(found, [token])
    with pytest.raises(Problem) as refused:
        ask(found, ["Bearer c"])
    assert 429 == refused.value.status

    operator = Caller("ann", roles=frozenset({OPERATOR}))
    verifier.caller = operator
    assert [operator] * 5 == [ask(found, ["Bearer d"]) for _ in range(5)]


def test_a_scope_is_required_by_name() -> None:
    """RFC 6750 asks for the missing scope in the challenge."""
    Caller("ann", scopes=frozenset({"write"})).require_scope("write")
    ANN.require_scope("")

    with pytest.raises(Problem) as refused:
        ANN.require_scope("write")

    assert 403 == refused.value.status
    assert 'error="insufficient_scope", scope="write"' in refused.value.headers["WWW-Authenticate"]
    assert "scope=" not in forbidden("no").headers["WWW-Authenticate"]


def test_the_id_depends_on_issuer_and_subject() -> None:
    """Two issuers may have the same subjects."""
    ids = {caller_id("https://a", "x"), caller_id("https://b", "x"), caller_id("https://a", "y")}

    assert 3 == len(ids)
    assert caller_id("https://a", "x") in ids
