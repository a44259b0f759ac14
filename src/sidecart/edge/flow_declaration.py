"""The declaration of a flow that a command starts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


def _never(_body: bytes) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class FlowDeclaration:
    """A flow that goes on after the reply, and is checked until it has ended.

    `owner` is the app-id of the service that has the created resource. Its answer has all fields of
    the command's body, so the command can be built again. `ends_at` are the app-ids of the services
    that answer `/unfinished/<name>/<ids>` (WIRE.md, section 12). `is_pending` returns True if the
    owner's answer shows that the flow has not ended.
    """

    name: str
    owner: str
    ends_at: tuple[str, ...]
    is_pending: Callable[[bytes], bool] = _never
