"""The mail catcher's mails: it is asked for what came after the last one, and answers when there is something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

WAIT_SECONDS = 20
"""How long the mail catcher holds the question."""
ANSWER_SECONDS_MAX = WAIT_SECONDS + 10
PAUSE_SECONDS = 2.0
"""Before it is asked again after it did not answer."""
SHOWN = ("id", "message_id", "from", "to", "subject", "text", "taken_at")
CHARACTERS_MAX = 4_000
"""Of each part of a mail."""


class Mails:
    """Reads on where it stopped."""

    def __init__(self, url: str, took: Callable[[Sequence[Mapping[str, Any]]], None]) -> None:
        self._url = url
        self._took = took
        self._newest = 0

    async def read_on(self, client: httpx.AsyncClient) -> None:
        """Hand over each mail once, until cancelled."""
        while True:
            try:
                query = {"after": self._newest, "wait": WAIT_SECONDS}
                answer = await client.get(f"{self._url}/mails", params=query, timeout=ANSWER_SECONDS_MAX)
                mails: list[dict[str, Any]] = answer.raise_for_status().json()
            except (httpx.HTTPError, ValueError):  # it is unreachable: its mails are kept, and found when it is back
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            if mails:
                self._newest = max(mail["id"] for mail in mails)
                self._took([_view(mail) for mail in mails])


def _view(mail: Mapping[str, Any]) -> Mapping[str, Any]:
    parts = {name: mail.get(name) for name in SHOWN}
    return {name: part[:CHARACTERS_MAX] if isinstance(part, str) else part for name, part in parts.items()}
