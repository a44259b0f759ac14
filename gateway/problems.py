"""RFC 9457: every error is application/problem+json with a type, a detail that says what to do, and a trace id."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import Request, Response

MEDIA_TYPE = "application/problem+json"
TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$")


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

    def response(self, request: Request) -> Response:
        """Render it for one request."""
        body: dict[str, Any] = {
            "type": f"urn:sidecart:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "trace_id": trace_id(request),
        }
        if self.errors:
            body["errors"] = list(self.errors)
        return Response(msgspec.json.encode(body), self.status, self.headers, MEDIA_TYPE)


def trace_id(request: Request) -> str:
    """The caller's W3C trace id if there is a well-formed one, else a new one."""
    found = TRACEPARENT.match(request.headers.get("traceparent", ""))
    return found.group(1) if found else secrets.token_hex(16)


def not_found(what: str) -> Problem:
    """404: there is no such thing."""
    return Problem(404, "not_found", f"there is no {what}")


def unavailable(detail: str) -> Problem:
    """503: nothing was done; try again."""
    return Problem(503, "unavailable", detail, headers={"Retry-After": "1"})


def method_not_allowed(allow: str) -> Problem:
    """405, with what is allowed."""
    return Problem(405, "method_not_allowed", f"use {allow} here", headers={"Allow": allow})
