"""Read the mail catcher's mails by long polling, each mail once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from sidecart.monitor.gateway_proxy import LOCAL

WAIT_SECONDS = 20
"""How long the mail catcher holds a request."""
ANSWER_SECONDS_MAX = WAIT_SECONDS + 10
PAUSE_SECONDS = 2.0
"""The pause after a failed request."""
SHOWN = ("id", "message_id", "from", "to", "subject", "text", "taken_at")
CHARACTERS_MAX = 4_000
"""Characters of each part of a mail."""


class Mails:
    """Reads the mails after the last one that it has read."""

    def __init__(self, url: str, on_mails: Callable[[Sequence[Mapping[str, Any]]], None]) -> None:
        self._url = url
        self._on_mails = on_mails
        self._newest = 0

    async def read_on(self, client: httpx.AsyncClient) -> None:
        """Pass each new mail on once, until cancelled."""
        while True:
            try:
                query = {"after": self._newest, "wait": WAIT_SECONDS}
                url = f"{self._url}/mails"
                answer = await client.get(url, params=query, headers=LOCAL, timeout=ANSWER_SECONDS_MAX)
                mails: list[dict[str, Any]] = answer.raise_for_status().json()
            except (httpx.HTTPError, ValueError):  # an unreachable mail catcher keeps its mails
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if mails:
                self._newest = max(mail["id"] for mail in mails)
                self._on_mails([_view(mail) for mail in mails])


def _view(mail: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = {name: mail.get(name) for name in SHOWN}
    return {name: part[:CHARACTERS_MAX] if isinstance(part, str) else part for name, part in parts.items()}
