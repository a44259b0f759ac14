"""HTTP as bytes: requests of every framing, the expected responses, and a client that sends bytes
unchanged.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

HOST = b"host: localhost\r\n"
SECONDS = 30.0
INNER = b"GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n"
LAST = b"GET /last HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
PROTOCOLS = (b"h2c", b"websocket", b"HTTP/2.0", b"TLS/1.0", b"irc, foo/2", b"")
# a proxy refuses an offer without a key
KEY = b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n"
JAVA = b"connection: Upgrade, HTTP2-Settings\r\nhttp2-settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\n"


def post(headers: bytes, body: bytes = INNER, target: bytes = b"/a") -> bytes:
    """Return a POST request whose body is itself a complete request."""
    return b"POST " + target + b" HTTP/1.1\r\n" + HOST + headers + b"content-length: %d\r\n\r\n" % len(body) + body


def chunked(headers: bytes, *pieces: bytes, trailers: bytes = b"", extension: bytes = b"") -> bytes:
    """Return a POST request with a chunked body."""
    head = b"POST /a HTTP/1.1\r\n" + HOST + headers + b"transfer-encoding: chunked\r\n\r\n"
    chunks = (b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    return head + b"".join(chunks) + b"0\r\n" + trailers + b"\r\n"


def get(headers: bytes = HOST, target: bytes = b"/a", version: bytes = b"1.1", method: bytes = b"GET") -> bytes:
    """Return a request without a body."""
    return method + b" " + target + b" HTTP/" + version + b"\r\n" + headers + b"\r\n"


def _offers() -> Iterator[tuple[str, bytes, list[str]]]:
    """Yield offers to upgrade, with any protocol and body: name, bytes, expected requests."""
    inner = len(INNER)
    for protocol in PROTOCOLS:
        offer = JAVA + KEY + b"upgrade: " + protocol + b"\r\n"
        name = protocol.decode() or "nothing"
        yield f"{name}, a body", post(offer), [f"POST /a {inner}"]
        yield f"{name}, no body", get(HOST + offer), ["GET /a 0"]
        yield f"{name}, an empty body", post(offer, b""), ["POST /a 0"]
    offer = b"Connection: keep-alive, UPGRADE\r\nUpgrade: h2c\r\n"
    yield "chunks", chunked(offer, b"ab", INNER), [f"POST /a {inner + 2}"]
    yield "two in a row", post(offer) + post(offer, b"abc"), [f"POST /a {inner}", "POST /a 3"]
    yield "one, then none", post(offer) + get(target=b"/b"), [f"POST /a {inner}", "GET /b 0"]
    yield "HEAD", get(HOST + offer, method=b"HEAD"), ["HEAD /a 0"]
    yield "two Upgrade headers", post(offer + b"upgrade: websocket\r\n"), [f"POST /a {inner}"]
    yield "an absolute target", post(offer, target=b"http://localhost/a"), [f"POST /a {inner}"]


OFFERS = list(_offers())

# name, bytes, the requests that the app must see: method, path, size of the body
READ: list[tuple[str, bytes, list[str]]] = [
    *((f"an upgrade: {name}", sent, seen) for name, sent, seen in OFFERS),
    ("a body that is a request", post(b""), [f"POST /a {len(INNER)}"]),
    ("pipelined", get(target=b"/a") + post(b"") + get(target=b"/b"), ["GET /a 0", f"POST /a {len(INNER)}", "GET /b 0"]),
    ("chunks with extensions", chunked(b"", b"abc", INNER, extension=b';a="b"'), [f"POST /a {3 + len(INNER)}"]),
    ("trailers", chunked(b"", b"abc", trailers=b"host: y\r\nx: y\r\n"), ["POST /a 3"]),
    ("TE: trailers", get(HOST + b"te: trailers\r\nconnection: te\r\n"), ["GET /a 0"]),
    ("TE: gzip", get(HOST + b"te: gzip, trailers;q=0.5\r\n"), ["GET /a 0"]),
    ("an absolute target", get(target=b"http://localhost/b?c=d"), ["GET /b 0"]),
    ("an absolute target with a port", get(b"host: localhost:80\r\n", target=b"HTTP://localhost:80/b"), ["GET /b 0"]),
    ("an absolute target without a path", get(target=b"http://localhost"), ["GET / 0"]),
    ("a host with a port", get(b"host: [::1]:8000\r\n"), ["GET /a 0"]),
    ("an empty host", get(b"host:\r\n"), ["GET /a 0"]),
    ("two spaces after the method", get(method=b"GET "), ["GET /a 0"]),
    ("empty lines before a request", b"\r\n\r\n" + get(), ["GET /a 0"]),
]

# accepted and answered, but the connection ends afterwards
CLOSED: list[tuple[str, bytes, list[str]]] = [
    ("HTTP/1.0", get(b"", version=b"1.0"), ["GET /a 0"]),
    ("HTTP/1.0 with a host", get(version=b"1.0"), ["GET /a 0"]),
    ("a body in HTTP/1.0", b"POST /a HTTP/1.0\r\ncontent-length: 3\r\n\r\nabc", ["POST /a 3"]),
    (
        "an upgrade in HTTP/1.0",
        post(b"connection: upgrade\r\nupgrade: h2c\r\n").replace(b"1.1", b"1.0", 1),
        [f"POST /a {len(INNER)}"],
    ),
    ("connection: close", get(HOST + b"connection: close\r\n"), ["GET /a 0"]),
]

_ABC = b"3\r\nabc\r\n0\r\n\r\n"


def _coded(*headers: bytes) -> bytes:
    return b"POST /a HTTP/1.1\r\n" + HOST + b"".join(each + b"\r\n" for each in headers) + b"\r\n" + _ABC


def _sized(*headers: bytes) -> bytes:
    return b"POST /a HTTP/1.1\r\n" + HOST + b"".join(each + b"\r\n" for each in headers) + b"\r\nabcde"


REFUSED: list[tuple[str, bytes]] = [  # answered 400, and the connection is closed
    ("no host", get(b"")),
    ("two hosts", get(HOST + HOST)),
    ("two hosts that differ", get(HOST + b"host: y\r\n")),
    *(
        (f"the host {value!r}", get(b"host: " + value + b"\r\n"))
        for value in (b"a b", b"a/b", b"a@b", b"x:y", b"[::1", b"a,b c", b'"x"', b"\xff")
    ),
    ("no host with an absolute target", get(b"", target=b"http://localhost/a")),
    ("a fragment", get(target=b"/a#b")),
    ("a fragment in an absolute target", get(target=b"http://localhost/a#b")),
    ("user data in an absolute target", get(target=b"http://u:p@x/a")),
    ("another scheme", get(target=b"ftp://x/a")),
    ("an authority as a target", get(target=b"x:80")),
    ("an asterisk", get(target=b"*")),
    ("no path", get(target=b"a")),
    ("a length and a coding", _coded(b"content-length: 3", b"transfer-encoding: chunked")),
    ("a coding and a length", _coded(b"transfer-encoding: chunked", b"content-length: 13")),
    ("two codings", _coded(b"transfer-encoding: chunked", b"transfer-encoding: identity")),
    ("twice chunked", _coded(b"transfer-encoding: chunked", b"transfer-encoding: chunked")),
    *(
        (f"the coding {value!r}", _coded(b"transfer-encoding: " + value))
        for value in (
            b"xchunked",
            b"chunked, identity",
            b"chunked, chunked",
            b"gzip, chunked",
            b"identity",
            b"chunked;a=b",
            b"\x0bchunked",
            b"",
        )
    ),
    ("a coding on a folded line", _coded(b"transfer-encoding:\r\n chunked")),
    ("a space before the colon of a coding", _coded(b"transfer-encoding : chunked")),
    ("a coding in HTTP/1.0", _coded(b"transfer-encoding: chunked").replace(b"1.1", b"1.0", 1)),
    ("two lengths", _sized(b"content-length: 5", b"content-length: 6")),
    *(
        (f"the length {value!r}", _sized(b"content-length: " + value))
        for value in (b"+5", b"-5", b"5, 6", b"0x5", b"5 ;", b"", b"5a", b"99999999999999999999")
    ),
    ("a space before the colon of a length", _sized(b"content-length : 5")),
    ("a space before a header", b"GET /a HTTP/1.1\r\n " + HOST + b"\r\n"),
    ("a header without a name", get(HOST + b": x\r\n")),
    ("a header without a colon", get(HOST + b"abc\r\n")),
    ("a folded header", get(HOST + b"x: a\r\n b\r\n")),
    ("NUL in a name", get(HOST + b"x\x00: a\r\n")),
    ("NUL in a value", get(HOST + b"x: a\x00b\r\n")),
    ("NUL in a target", get(target=b"/\x00")),
    ("CR in a value", get(HOST + b"x: a\rb: c\r\n")),
    ("bare LF", get().replace(b"\r\n", b"\n")),
    ("bare LF after a header", b"GET /a HTTP/1.1\r\nhost: localhost\nx: y\r\n\r\n"),
    ("bare LF in chunks", chunked(b"", b"abc").replace(b"3\r\n", b"3\n")),
    *(
        (f"the chunk size {value!r}", chunked(b"", b"abc").replace(b"\r\n3\r\n", b"\r\n" + value + b"\r\n"))
        for value in (b"-3", b"+3", b"0x3", b"3 3", b" 3", b"g", b"", b"fffffffffffffffff3", b"3;\x00")
    ),
    ("a chunk longer than its size", chunked(b"", b"abc").replace(b"\r\n3\r\n", b"\r\n2\r\n")),
    ("HTTP/0.9", b"GET /a\r\n\r\n"),
    *(
        (f"HTTP/{version.decode()}", get(version=version))
        for version in (b"0.9", b"1.2", b"2.0", b"3.0", b"1", b"1.10", b"1.1x")
    ),
    ("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
    ("a method in lower case", get(method=b"get")),
    ("an unknown method", get(method=b"FOO")),
    ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32)),
]
OFFERED = b"connection: upgrade\r\nupgrade: h2c\r\n"
REFUSED += [  # an offer to upgrade bypasses no check
    ("a length and a coding with an offer", _coded(b"content-length: 3", b"transfer-encoding: chunked", OFFERED[:-2])),
    ("two hosts with an offer", get(HOST + HOST + OFFERED)),
    ("an unknown coding with an offer", _coded(b"transfer-encoding: gzip, chunked", OFFERED[:-2])),
    ("no host with an offer", get(OFFERED)),
]


@dataclass(frozen=True, slots=True)
class Answered:
    """One response."""

    status: int
    headers: dict[str, str]
    body: bytes


def responses(received: bytes, methods: Sequence[str] = ()) -> list[Answered]:
    """Parse all bytes received until the connection closed; fail if any byte is left over."""
    found: list[Answered] = []
    while received:
        head, separator, rest = received.partition(b"\r\n\r\n")
        assert separator, received
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = (first + " ").split(" ", 2)
        assert "HTTP/1.1" == version, received
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        is_head = len(found) < len(methods) and methods[len(found)] == "HEAD"
        body, received = _body(headers, rest, is_head or status.startswith("1"))
        if not status.startswith("1"):
            found.append(Answered(int(status), headers, body))
    return found


def _body(headers: dict[str, str], rest: bytes, is_empty: bool) -> tuple[bytes, bytes]:
    if is_empty:
        return b"", rest
    if headers.get("transfer-encoding") == "chunked":
        body = b""
        while True:
            size, _, rest = rest.partition(b"\r\n")
            piece, rest = rest[: int(size, 16)], rest[int(size, 16) + 2 :]
            body += piece
            if not piece:
                return body, rest
    # without a length the end of the connection ends the body
    size_bytes = int(headers.get("content-length", len(rest)))
    assert len(rest) >= size_bytes, rest
    return rest[:size_bytes], rest[size_bytes:]


def exchange(port: int, sent: bytes, methods: Sequence[str] = (), pieces: int = 1) -> list[Answered]:
    """Send the bytes in this many pieces (1: all at once); return all responses until the
    connection ends.
    """
    step = len(sent) if pieces == 1 else max(1, len(sent) // pieces)
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = b""
        try:
            for start in range(0, len(sent), step):
                connection.sendall(sent[start : start + step])
            while block := connection.recv(65536):
                received += block
        except ConnectionError:
            pass  # the server closes the connection after a refusal
    return responses(received, methods)
