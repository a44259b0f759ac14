"""Problem responses (RFC 9457).

Every error is application/problem+json with a type, a detail that says what to do, and a trace id.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Response
from pydantic import ValidationError

from sidecart.chassis.telemetry import request_context

MEDIA_TYPE = "application/problem+json"
ERRORS_MAX = 100  # invalid fields listed in one response


class Problem(Exception):
    """An error response; raise it anywhere below a route."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Render the problem as the response to the current request."""
        body: dict[str, Any] = {
            "type": f"urn:sidecart:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "trace_id": trace_id(),
        }
        if self.errors:
            body["errors"] = list(self.errors)
        return Response(msgspec.json.encode(body), self.status, self.headers, MEDIA_TYPE)


def trace_id() -> str:
    """Return the trace id of the current request: the caller's, or a new one.

    The log lines of the request have the same id.
    """
    context = request_context.current()
    return secrets.token_hex(16) if context is None else context.trace_id


def not_found(name: str) -> Problem:
    """404: the resource or the path does not exist."""
    return Problem(404, "not_found", f"there is no {name}")


def unavailable(detail: str) -> Problem:
    """503: the gateway did nothing; the caller may try again."""
    return Problem(503, "unavailable", detail, headers={"Retry-After": "1"})


def method_not_allowed(allow: str) -> Problem:
    """405: the detail and the Allow header list the allowed methods."""
    return Problem(405, "method_not_allowed", f"use {allow} here", headers={"Allow": allow})


def invalid(error: ValidationError) -> Problem:
    """422: a field of the body is invalid; `errors` lists each with its JSON pointer."""
    errors = [
        {"pointer": "".join(f"/{_escaped(part)}" for part in each["loc"]), "detail": each["msg"]}
        for each in error.errors(include_url=False, include_input=False, include_context=False)[:ERRORS_MAX]
    ]
    return Problem(422, "invalid", "the body is not valid; see errors", errors=errors)


def _escaped(part: int | str) -> str:
    """Return one token of a JSON pointer (RFC 6901).

    The caller chooses the name of an unknown field, so the name is truncated.
    """
    return str(part)[:100].replace("~", "~0").replace("/", "~1")
