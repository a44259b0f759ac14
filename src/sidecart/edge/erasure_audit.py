"""The audit trail's entry of an erasure that an operator requests."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from fastapi import Response

from sidecart.chassis.audit_trail import AuditEntry, AuditTrail, TrailFull
from sidecart.chassis.errors import TransientError
from sidecart.edge.problems import Problem, unavailable

log = logging.getLogger(__name__)

ERASE = "erase"
GATEWAY = "gateway"
OUTCOMES = {200: "completed", 202: "accepted"}


async def audited(trail: AuditTrail, operator: str, target: str, erase: Callable[[], Awaitable[Response]]) -> Response:
    """Append an entry, erase, and write the outcome.

    Raise Problem 503 without erasing if the entry cannot be written.
    """
    try:
        entry = await trail.begin(operator, GATEWAY, ERASE, target, 1)
    except (TransientError, TrailFull) as fault:
        raise unavailable(f"nothing was sent: the audit trail cannot be written ({fault}); try again") from fault
    try:
        response = await erase()
    except Problem as problem:
        await _end(trail, entry, f"answered {problem.status}")
        raise
    await _end(trail, entry, OUTCOMES.get(response.status_code, f"answered {response.status_code}"))
    return response


async def _end(trail: AuditTrail, entry: AuditEntry, outcome: str) -> None:
    try:
        await trail.end(entry, outcome)
    except TransientError as fault:  # the erasure has happened, so its answer must not fail
        log.warning("entry %d of the audit trail stays without its outcome %r: %s", entry.number, outcome, fault)
