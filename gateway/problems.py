"""RFC 9457: every error is application/problem+json with a type, a detail that says what to do, and a trace id."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Response

from chassis import request_context

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer that is an error; raise it from anywhere below a route."""

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
        """Render it for the request that is answered."""
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
    """The trace of the request that is answered: the caller's, or a new one; the lines of our logs have it too."""
    context = request_context.current()
    return secrets.token_hex(16) if context is None else context.trace_id


def not_found(what: str) -> Problem:
    """404: there is no such thing."""
    return Problem(404, "not_found", f"there is no {what}")


def unavailable(detail: str) -> Problem:
    """503: nothing was done; try again."""
    return Problem(503, "unavailable", detail, headers={"Retry-After": "1"})


def method_not_allowed(allow: str) -> Problem:
    """405, with what is allowed."""
    return Problem(405, "method_not_allowed", f"use {allow} here", headers={"Allow": allow})
