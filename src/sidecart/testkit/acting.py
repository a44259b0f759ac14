"""Tokens for a client that acts for many callers: tests, benchmarks, the fault injection."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx
from aiohttp import ClientHandlerType, ClientRequest, ClientResponse, Payload

from sidecart.edge.callers import OPERATOR, caller_id
from sidecart.edge.declarations import CommandDeclaration
from sidecart.issuer import keys, tokens

PROVIDER = "provider@example.com"
"""The caller of commands that need a scope."""
READER = "operator@example.com"
"""The caller of all other requests."""


class Acting(httpx.Auth):
    """Chooses a token of the local issuer by the body of each request.

    A command is sent by the caller whom its body names: by address, or by the id of a caller whose
    address an earlier request had. A command with a scope is sent by a provider, and everything
    else by an operator. A request that has a token already keeps it.
    """

    requires_request_body = True

    def __init__(self, folder: Path, commands: Iterable[CommandDeclaration]) -> None:
        """Sign with the keys in a folder, which the local issuer serves."""
        self._keys = keys.load(folder)
        self._commands = {command.path: command for command in commands}
        self._address_of: dict[str, str] = {}
        self.token = lru_cache(maxsize=100_000)(self._token)
        """`token(address, roles, scopes)` with tuples of words; the same arguments, the same token.
        """

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header to a request of httpx."""
        if "authorization" not in request.headers:
            request.headers.update(self.headers(request.url.path, _object(request.content)))
        yield request

    def headers(self, path: str, body: Mapping[str, Any]) -> dict[str, str]:
        """Return the header of a request."""
        return {"authorization": f"Bearer {self._token_of(path, body)}"}

    async def middleware(self, request: ClientRequest, handler: ClientHandlerType) -> ClientResponse:
        """Add the header to a request of aiohttp."""
        if "authorization" not in request.headers:
            content = await request.body.as_bytes() if isinstance(request.body, Payload) else b""
            request.headers.update(self.headers(request.url.path, _object(content)))
        return await handler(request)

    def add(self, address: str) -> str:
        """Note a caller and return the id."""
        made = caller_id(tokens.ISSUER, tokens.subject_of(address))
        self._address_of[made] = address
        return made

    def _token_of(self, path: str, body: Mapping[str, Any]) -> str:
        command = self._commands.get(path)
        if command is not None and command.scope:
            return self.token(PROVIDER, (), (command.scope,))
        for name, what in ({} if command is None else command.identity).items():
            named = body.get(name)
            if what == "email" and isinstance(named, str) and named:
                self.add(named)
                return self.token(named, (), ())
            if what == "id" and isinstance(named, str) and named in self._address_of:
                return self.token(self._address_of[named], (), ())
        return self.token(READER, (OPERATOR,), ())

    def _token(self, address: str, roles: tuple[str, ...], scopes: tuple[str, ...]) -> str:
        return tokens.token(self._keys, address, roles=roles, scopes=scopes)


def _object(content: bytes) -> Mapping[str, Any]:
    """Return the JSON object in a body; empty for any other body."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
