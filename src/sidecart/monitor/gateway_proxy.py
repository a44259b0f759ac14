"""Forward the page's requests to the gateway's public address, like any client's request."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from sidecart.monitor.flows import Call

POSTS = ("/user/register", "/account/deposit", "/order/create")
READS = (
    "/asyncapi.json",
    "/user/{user_id:uuid}",
    "/account/{user_id:uuid}",
    "/account/{user_id:uuid}/deposit/{deposit_id:uuid}",
    "/order/{order_id:uuid}",
    "/notification/{user_id:uuid}",
)
PREFIX = "/api"
BODY_BYTES_MAX = 64 * 1024
SECONDS_MAX = 35.0
"""The gateway holds a request for at most 30 s."""
FORWARDED_HEADERS = ("prefer", "idempotency-key")
RETURNED_HEADERS = ("content-type", "location", "retry-after", "preference-applied", "idempotency-key")


def gateway_client(url: str) -> httpx.AsyncClient:
    """An HTTP client of the gateway; it ignores the environment's proxy."""
    return httpx.AsyncClient(base_url=url, timeout=SECONDS_MAX, trust_env=False)


def routes(client: Callable[[], httpx.AsyncClient], add_request: Callable[[Call], None]) -> list[Route]:
    """The forwarded routes; `add_request` receives each answered POST."""

    async def post(request: Request) -> Response:
        body = await _body(request)
        if body is None:
            return problem(413, f"the page sends at most {BODY_BYTES_MAX} bytes")
        path = request.url.path.removeprefix(PREFIX)
        headers = {name: request.headers[name] for name in FORWARDED_HEADERS if name in request.headers}
        requested_at = now_ms()
        try:
            answer = await client().post(path, content=body, headers={**headers, "content-type": "application/json"})
        except httpx.HTTPError as error:
            return problem(502, f"the gateway does not answer ({type(error).__name__})")
        add_request(
            Call(
                path,
                _object(body),
                answer.status_code,
                answer.reason_phrase.upper(),
                _object(answer.content),
                requested_at,
                now_ms(),
            )
        )
        return _relay(answer)

    async def get(request: Request) -> Response:
        try:
            return _relay(await client().get(request.url.path.removeprefix(PREFIX)))
        except httpx.HTTPError as error:
            return problem(502, f"the gateway does not answer ({type(error).__name__})")

    posts = [Route(PREFIX + path, post, methods=["POST"]) for path in POSTS]
    return posts + [Route(PREFIX + path, get, methods=["GET"]) for path in READS]


def problem(status: int, detail: str) -> Response:
    """An error of the monitor, in the gateway's format."""
    body = {"type": "about:blank", "title": "The live page", "status": status, "detail": detail}
    return JSONResponse(body, status, media_type="application/problem+json")


def now_ms() -> float:
    """The wall clock in whole milliseconds, like event times."""
    return time.time() * 1000 // 1


async def _body(request: Request) -> bytes | None:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            return None
    return body


def _relay(answer: httpx.Response) -> Response:
    headers = {name: answer.headers[name] for name in RETURNED_HEADERS if name in answer.headers}
    return Response(answer.content, answer.status_code, headers)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = msgspec.json.decode(body)  # rejects lone surrogates, which a page could not receive
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
