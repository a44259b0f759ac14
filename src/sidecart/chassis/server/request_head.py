"""Checks of a request head that the parser leaves to the server.

See RFC 9112 sections 2.3, 3.2 and 6.1, and RFC 9110 section 7.8.
"""

from __future__ import annotations

import re
import secrets
from functools import lru_cache
from http import HTTPStatus

import msgspec

HEAD_BYTES_MAX = 64 * 1024  # request line and headers; usually below 1 KiB, plus a proxy's
HEADERS_MAX = 1_000
METHODS = "GET, HEAD, POST, DELETE"  # of all apps together: the Allow header where there is no resource

LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
"""The names by which callers on the same machine reach a server."""
FRAMING = frozenset({b"host", b"transfer-encoding"})  # the headers that `check` reads

Headers = list[tuple[bytes, bytes]]  # names in lower case

_HOST = re.compile(rb"(?:[\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?", re.ASCII)
_ABSOLUTE = re.compile(rb"https?://([^/?#@]+)(/[^#]*|\?[^#]*)?", re.ASCII | re.IGNORECASE)


class Rejection(Exception):
    """A request that the server answers itself; no app sees it.

    The connection closes after the response.
    """

    def __init__(self, status: int, kind: str, detail: str, allow: str | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.allow = allow

    def rendered(self) -> bytes:
        """Render a complete problem response, because no app can answer before a request."""
        title = HTTPStatus(self.status).phrase
        body = msgspec.json.encode(
            {
                "type": f"urn:sidecart:problem:{self.kind}",
                "title": title,
                "status": self.status,
                "detail": self.detail,
                "trace_id": secrets.token_hex(16),
            }
        )
        allow = "" if self.allow is None else f"allow: {self.allow}\r\n"
        head = (
            f"HTTP/1.1 {self.status} {title}\r\ncontent-type: application/problem+json\r\n"
            f"content-length: {len(body)}\r\n{allow}connection: close\r\n\r\n"
        )
        return head.encode() + body


def not_http(detail: str) -> Rejection:
    """Return a 400: the bytes are not one unambiguous HTTP/1.1 request."""
    return Rejection(400, "not_http", detail)


def too_large() -> Rejection:
    """Return a 431: the head has too many bytes or too many headers."""
    return Rejection(431, "head_too_large", f"a head may have at most {HEAD_BYTES_MAX} bytes and {HEADERS_MAX} headers")


def too_late(part: str, seconds: float) -> Rejection:
    """Return a 408: the head or the body did not arrive in time."""
    return Rejection(408, "incomplete", f"the {part} of the request did not arrive within {seconds:.0f} s")


def too_many_connections() -> Rejection:
    """Return a 503: the server or the client's address has its full number of connections."""
    return Rejection(503, "unavailable", "there are too many connections; close some, and try again")


def no_resource(method: str) -> Rejection:
    """Return a 405: the request is for a tunnel, or for the server as a whole."""
    return Rejection(405, "method_not_allowed", f"{method} is not supported; use {METHODS}", METHODS)


def check_size(target: bytes, headers: Headers) -> None:
    """Raise Rejection if the target and the headers have too many bytes."""
    if len(target) + sum(len(name) + len(value) for name, value in headers) > HEAD_BYTES_MAX:
        raise too_large()


def check(version: str, framing: Headers) -> None:
    """Check the version and the `FRAMING` headers; raise Rejection.

    It rejects an unknown version, a missing or ambiguous Host, and a body of unknown length.
    """
    hosts, codings = 0, 0
    for name, value in framing:
        if name == b"host":
            hosts += 1
            if not _is_host(value):
                raise not_http("the Host header is not a host and an optional port")
        else:
            codings += 1
            if value.lower() != b"chunked":
                raise not_http("the only transfer coding here is chunked")
    if version == "1.1":
        if hosts != 1:
            raise not_http(f"HTTP/1.1 needs one Host header, this request has {hosts}")
    elif version != "1.0" or hosts > 1 or codings:
        # HTTP/1.0 has no transfer codings: RFC 9112 section 6.1.
        raise not_http("this server supports HTTP/1.1, and HTTP/1.0 without a transfer coding")
    if codings > 1:
        raise not_http("the body is chunked more than once")


def origin_form(target: bytes, method: str, headers: Headers) -> bytes:
    """Return the path and query of a target.

    An absolute target replaces the Host header (RFC 9112 section 3.2.2).
    """
    if target.startswith(b"/"):
        if b"#" in target:
            raise not_http("a request target must not have a fragment")
        return target
    if target == b"*" and method == "OPTIONS":
        raise no_resource("OPTIONS *")
    absolute = _ABSOLUTE.fullmatch(target)
    if absolute is None or not _is_host(absolute[1]):
        raise not_http("the request target is neither a path nor an http URL")
    place = next((number for number, (name, _) in enumerate(headers) if name == b"host"), None)
    if place is not None:
        headers[place] = (b"host", absolute[1])
    path = absolute[2] or b"/"
    return path if path.startswith(b"/") else b"/" + path


@lru_cache(maxsize=256)
def host_name(host: str) -> str:
    """Return the value of a Host header without its port."""
    name, colon, port = host.rpartition(":")
    return name if colon and (port == "" or port.isdigit()) and not name.endswith(":") else host


def without_upgrade(method: bytes, target: bytes, version: str, headers: Headers) -> bytes:
    """Render a head again without its Upgrade header."""
    lines = [name + b": " + value for name, value in headers if name != b"upgrade"]
    return b"\r\n".join([method + b" " + target + b" HTTP/" + version.encode(), *lines, b"", b""])


@lru_cache(maxsize=256)
def _is_host(value: bytes) -> bool:
    return _HOST.fullmatch(value) is not None
