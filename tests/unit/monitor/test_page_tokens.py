"""The page sends each command as the caller whom the form names."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joserfc import jwt

from sidecart.edge.callers import OPERATOR, caller_id
from sidecart.issuer import keys
from sidecart.issuer.tokens import ISSUER
from sidecart.monitor.gateway_api import parse
from sidecart.monitor.page_tokens import ADDRESS, PageTokens
from tests.unit.monitor.test_gateway_api import shop_document

API = parse(shop_document())
ANN = "ann@example.com"
ANN_ID = caller_id(ISSUER, ANN)


def claims(folder: Path, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the claims of the token in a header."""
    token = headers["authorization"].removeprefix("Bearer ")
    return dict(jwt.decode(token, keys.load(folder).newest, algorithms=[keys.ALGORITHM]).claims)


class Gateway:
    """A gateway that knows one user, and records its reads."""

    def __init__(self) -> None:
        self.reads: list[str] = []

    async def read(self, path: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
        """Return the user."""
        assert headers["authorization"].startswith("Bearer ")
        self.reads.append(path)
        return {"email": ANN} if path == f"/user/{ANN_ID}" else {}


def test_reads_are_those_of_an_operator(tmp_path: Path) -> None:
    """The page shows all users."""
    found = claims(tmp_path, PageTokens(tmp_path).of_read())

    assert (ADDRESS, [OPERATOR]) == (found["email"], found["roles"])


def test_a_command_is_sent_by_the_caller_of_its_form(tmp_path: Path) -> None:
    """An address names the caller; an id is looked up once; a scope is added where it is needed."""
    gateway, tokens = Gateway(), PageTokens(tmp_path)

    async def sender(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return claims(tmp_path, await tokens.of_command(API, path, body, gateway.read))

    async def scenario() -> None:
        registered = await sender("/user/register", {"email": "bob@example.com", "name": "Bob"})
        assert ("bob@example.com", None) == (registered["email"], registered.get("roles"))
        for _ in range(2):
            ordered = await sender("/order/create", {"user_id": ANN_ID})
            assert (ANN, None) == (ordered["email"], ordered.get("roles"))
        bob = await sender("/order/create", {"user_id": caller_id(ISSUER, "bob@example.com")})
        assert "bob@example.com" == bob["email"]
        assert [f"/user/{ANN_ID}"] == gateway.reads
        deposited = await sender("/account/deposit", {"user_id": ANN_ID})
        assert "deposits" == deposited["scope"]
        for unknown in ("/order/create", "/elsewhere"):
            assert ADDRESS == (await sender(unknown, {"user_id": "../../x"}))["email"]

    asyncio.run(scenario())
    assert [f"/user/{ANN_ID}"] == gateway.reads
