"""Only an operator uses the operator's view, and the audit trail gets the operator's name."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from starlette.requests import Request

from sidecart.edge.problems import Problem
from sidecart.edge.settings import AuthSettings
from sidecart.issuer import keys, tokens
from sidecart.launcher.audit import Operator
from sidecart.monitor.operators import KEY_HOLDER, Operators


def outcome(folder: Path, roles: tuple[str, ...] | None, acting: str = "") -> int | Operator:
    """Return the operator, or the status, for a caller with these roles; None without a token."""
    signing = keys.load(folder)
    auth = AuthSettings(tokens.ISSUER, jwks_url="http://127.0.0.1:9/jwks.json")
    headers = []
    if roles is not None:
        headers = [(b"authorization", b"Bearer " + tokens.token(signing, "a@b.example", roles=roles).encode())]

    async def run() -> int | Operator:
        operators = Operators(auth, acting)
        assert operators.keys is not None
        operators.keys._fetch = lambda _url: json.dumps(signing.public()).encode()
        await operators.keys._read_once()
        try:
            return await operators.check(Request({"type": "http", "headers": headers}))
        except Problem as problem:
            return problem.status

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("roles", "expected"),
    [(None, 401), ((), 403), (("reader",), 403), (("operator",), Operator("a@b.example", "page"))],
)
def test_the_role_decides(tmp_path: Path, roles: tuple[str, ...] | None, expected: int | Operator) -> None:
    """A token of a user is not enough."""
    assert expected == outcome(tmp_path, roles)


@pytest.mark.parametrize(
    ("roles", "expected"),
    [(None, Operator("page", "page")), ((), 403), (("operator",), Operator("a@b.example", "page"))],
)
def test_a_page_that_acts_for_every_caller_takes_tokens_too(
    tmp_path: Path, roles: tuple[str, ...] | None, expected: int | Operator
) -> None:
    """A request with a token is that of its caller, whom the audit trail names."""
    assert expected == outcome(tmp_path, roles, acting="page")


def test_without_an_issuer_the_key_of_the_page_is_enough() -> None:
    """The page acts for every caller then."""
    found = asyncio.run(Operators(None, KEY_HOLDER).check(Request({"type": "http", "headers": []})))

    assert Operator(KEY_HOLDER, "page") == found


def test_the_keys_of_the_local_issuer_come_from_its_folder(tmp_path: Path) -> None:
    """On a cluster the page does not reach the issuer's address."""
    signed = tokens.token(keys.load(tmp_path), "a@b.example", roles=("operator",))
    request = Request({"type": "http", "headers": [(b"authorization", f"Bearer {signed}".encode())]})
    operators = Operators(AuthSettings(tokens.ISSUER, jwks_url="http://127.0.0.1:9/jwks.json"), "page", tmp_path)

    async def run() -> Operator:
        assert operators.keys is not None
        await operators.keys._read_once()
        return await operators.check(request)

    assert Operator("a@b.example", "page") == asyncio.run(run())
