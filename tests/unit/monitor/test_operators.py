"""With an external issuer only an operator replays a dead letter."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from starlette.requests import Request

from sidecart.edge.problems import Problem
from sidecart.edge.settings import AuthSettings
from sidecart.issuer import keys, tokens
from sidecart.monitor.operators import Operators


def status(folder: Path, roles: tuple[str, ...] | None) -> int:
    """Return the status for a caller with these roles; None for a request without a token."""
    signing = keys.load(folder)
    auth = AuthSettings(tokens.ISSUER, jwks_url="http://127.0.0.1:9/jwks.json")
    headers = []
    if roles is not None:
        headers = [(b"authorization", b"Bearer " + tokens.token(signing, "a@b.example", roles=roles).encode())]

    async def run() -> int:
        operators = Operators(auth)
        assert operators.keys is not None
        operators.keys._fetch = lambda _url: json.dumps(signing.public()).encode()
        await operators.keys._read_once()
        try:
            await operators.check(Request({"type": "http", "headers": headers}))
        except Problem as problem:
            return problem.status
        return 200

    return asyncio.run(run())


@pytest.mark.parametrize(("roles", "expected"), [(None, 401), ((), 403), (("reader",), 403), (("operator",), 200)])
def test_the_role_decides(tmp_path: Path, roles: tuple[str, ...] | None, expected: int) -> None:
    """A token of a user is not enough."""
    assert expected == status(tmp_path, roles)


def test_without_an_issuer_the_key_of_the_page_is_enough() -> None:
    """The page acts for every caller then."""
    asyncio.run(Operators(None).check(Request({"type": "http", "headers": []})))
