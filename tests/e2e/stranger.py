"""A program of another user of the machine: it reads its targets and prints its finds.

`python -I -S stranger.py < targets.json`, started by root: it gives up all rights first. So it
imports no module later, which that user may not be able to read.
"""

from __future__ import annotations

import contextlib
import encodings.idna  # noqa: F401 - http.client needs it later
import http.client
import json
import os
import socket
import ssl
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SECONDS = 5.0


def readable(path: str) -> bool:
    """Return whether this user can read a file, or list a folder."""
    try:
        if Path(path).is_dir():
            return bool(os.listdir(path))  # noqa: PTH208 - a plain system call
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError:
        return False
    return True


def asked(port: int, method: str, path: str, body: str = "") -> int:
    """Return the status of an HTTP request; 0 if the server closes the connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    with contextlib.closing(connection):
        try:
            connection.request(method, path, body or None, {"content-type": "application/json"})
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0


def answered_by_grpc(port: int, path: str, is_tls: bool = False) -> bool:
    """Call a gRPC method with an empty message; return whether the server sent data."""
    try:
        connection: Any = socket.create_connection(("127.0.0.1", port), SECONDS)
        if is_tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.set_alpn_protocols(["h2"])
            connection = context.wrap_socket(connection)
        with contextlib.closing(connection):
            connection.sendall(_call(path))
            return _has_data(connection)
    except OSError:
        return False


def _call(path: str) -> bytes:
    """Return an HTTP/2 connection with one call: the preface, settings, headers, an empty
    message.
    """
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": path,
        ":authority": "localhost",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    block = b"".join(
        b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    headers, data = _frame(1, 4, 1, block), _frame(0, 1, 1, b"\x00\x00\x00\x00\x00")
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + headers + data


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return struct.pack(">I", len(content))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + content


def _has_data(connection: socket.socket) -> bool:
    received = b""
    while True:
        while len(received) >= 9 and len(received) >= 9 + (size := int.from_bytes(received[:3], "big")):
            kind, flags, stream = received[3], received[4], int.from_bytes(received[5:9], "big")
            received = received[9 + size :]
            if kind == 0 and size:
                return True
            if kind == 7 or (stream == 1 and kind in (0, 1) and flags & 1) or (stream == 1 and kind == 3):
                return False
        block = connection.recv(65536)
        if not block:
            return False
        received += block


def opens_redis(port: int) -> bool:
    """Return whether the server answers a command without a login."""
    return _exchanged(port, b"PING\r\n").startswith(b"+PONG")


def opens_postgres(port: int) -> bool:
    """Return whether the server lets its administrator in without a password."""
    words = b"user\0postgres\0database\0postgres\0\0"
    answer = _exchanged(port, struct.pack(">II", len(words) + 8, 196608) + words)
    return answer[:1] == b"R" and answer[5:9] == bytes(4)


def opens_rabbitmq(port: int) -> bool:
    """Return whether the server lets its usual guest in."""
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            connection.recv(65536)
            login = b"\0guest\0guest"
            words = b"\x00\x00\x00\x00" + b"\x05PLAIN" + struct.pack(">I", len(login)) + login + b"\x05en_US"
            method = struct.pack(">HH", 10, 11) + words
            connection.sendall(struct.pack(">BHI", 1, 0, len(method)) + method + b"\xce")
            answer = connection.recv(65536)
    except OSError:
        return False
    return answer[7:11] == struct.pack(">HH", 10, 30)  # tune: the login was accepted


def _exchanged(port: int, sent: bytes) -> bytes:
    try:
        with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
            connection.sendall(sent)
            return connection.recv(65536)
    except OSError:
        return b""


SERVERS: dict[str, Callable[[int], bool]] = {
    "redis": opens_redis,
    "postgres": opens_postgres,
    "rabbitmq": opens_rabbitmq,
}


def main() -> None:
    """Try everything; print what opened, and the user who did."""
    targets = json.load(sys.stdin)
    os.setgroups([])
    os.setgid(targets["user"])
    os.setuid(targets["user"])
    found = {
        "user": os.geteuid(),
        "files": [path for path in targets["files"] if readable(path)],
        "http": {key: asked(*request) for key, request in targets["http"].items()},
        "grpc": [name for name, call in targets["grpc"].items() if answered_by_grpc(*call)],
        "servers": [name for name, port in targets["servers"].items() if SERVERS[name](port)],
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
