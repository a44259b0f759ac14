"""The tokens of the page's requests: the page acts for any caller of the local token issuer.

With another issuer the page has no tokens, so its forms are off.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from sidecart.edge.callers import OPERATOR, caller_id
from sidecart.issuer import keys, tokens
from sidecart.monitor.gateway_api import GatewayApi, Operation

ADDRESS = "operator@page.example"
"""The caller of reads, and of commands whose body names no caller."""
CALLERS_MAX = 10_000

Read = Callable[[str, Mapping[str, str]], Awaitable[Mapping[str, Any]]]
"""Reads a path of the gateway with these headers; empty if there is no such resource."""


class PageTokens:
    """Signs tokens with the key of the local issuer."""

    def __init__(self, folder: Path) -> None:
        """Use the key file in a folder. It is read for each request, because keys rotate."""
        self._folder = folder
        self._address_of: dict[str, str] = {}

    def of_read(self) -> dict[str, str]:
        """Return the header of a GET."""
        return self._headers(ADDRESS, roles=(OPERATOR,))

    async def of_command(self, api: GatewayApi, path: str, body: Mapping[str, Any], read: Read) -> dict[str, str]:
        """Return the header of a POST: of the caller whom the body names."""
        command = next((each for each in api.commands if each.path == path), None)
        if command is None:
            return self.of_read()
        for name, what in command.identity.items():
            named = body.get(name)
            if not isinstance(named, str):
                continue
            address = named if what == "email" else await self._find(api, name, named, read)
            if address:
                self._add(address)
                return self._headers(address, scopes=command.scopes)
        return self._headers(ADDRESS, roles=(OPERATOR,), scopes=command.scopes)

    async def _find(self, api: GatewayApi, parameter: str, named: str, read: Read) -> str:
        """Return the address of a caller by its id; empty if the gateway does not know it."""
        if named not in self._address_of:
            field = next((field for field in map(_address_field, api.commands) if field), "")
            query = next((each for each in api.queries if each.parameters == (parameter,)), None)
            if query is None or not query.pattern.fullmatch(path := query.path.replace(f"{{{parameter}}}", named)):
                return ""
            found = (await read(path, self.of_read())).get(field)
            if isinstance(found, str):
                self._add(found)
        return self._address_of.get(named, "")

    def _add(self, address: str) -> None:
        self._address_of[caller_id(tokens.ISSUER, tokens.subject_of(address))] = address
        if len(self._address_of) > CALLERS_MAX:
            del self._address_of[next(iter(self._address_of))]

    def _headers(self, address: str, *, roles: tuple[str, ...] = (), scopes: tuple[str, ...] = ()) -> dict[str, str]:
        signed = tokens.token(keys.load(self._folder), address, roles=roles, scopes=scopes)
        return {"authorization": f"Bearer {signed}"}


def _address_field(command: Operation) -> str:
    """Return the field of a command's body that is the caller's address; empty without one."""
    return next((name for name, what in command.identity.items() if what == "email"), "")
