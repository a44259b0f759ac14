"""Programs that pretend to be a sidecar: they call the internal ports of sidecars, and sentry."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from dapr.proto import common_v1

from sidecart.launcher.identities import NAMESPACE

CALL_LOCAL = "/dapr.proto.internals.v1.ServiceInvocation/CallLocal"
SIGN = "/dapr.proto.sentry.v1.CA/SignCertificate"
SECONDS = 10.0
JWKS, INSECURE = 3, 1
"""Validators of sentry, by their numbers in its protocol."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate chain and its key, both PEM texts."""

    chain: bytes
    key: bytes

    @property
    def identity(self) -> str:
        """The SPIFFE ID in the certificate."""
        return identity_in(x509.load_pem_x509_certificate(self.chain))


def identity_in(certificate: x509.Certificate) -> str:
    """Return the SPIFFE ID in a certificate."""
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    [identity] = names.get_values_for_type(x509.UniformResourceIdentifier)
    return identity


def client_context(certificate: Certificate | None, folder: Path) -> ssl.SSLContext:
    """Return a TLS client that trusts any server, with a certificate of its own or without one."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if certificate is not None:
        file = folder / "client.pem"
        file.write_bytes(certificate.key + certificate.chain)
        context.load_cert_chain(file)
    return context


def server_identity(port: int, folder: Path) -> str:
    """Return the SPIFFE ID that the server on a port shows."""
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as plain,
        client_context(None, folder).wrap_socket(plain) as secured,
    ):
        shown = secured.getpeercert(binary_form=True)
    assert shown is not None
    return identity_in(x509.load_der_x509_certificate(shown))


@contextmanager
def channel_to(port: int, context: ssl.SSLContext | None = None) -> Iterator[grpc.Channel]:
    """Open a gRPC channel; TLS goes through a relay, because grpcio requires a server's name."""
    if context is None:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        return
    with _relay(port, context) as relayed, grpc.insecure_channel(f"127.0.0.1:{relayed}") as channel:
        yield channel


@contextmanager
def _relay(port: int, context: ssl.SSLContext) -> Iterator[int]:
    """Run a relay from plaintext to TLS in one thread, as OpenSSL requires; yield its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            secured = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        except OSError:  # the server refused the handshake
            writer.close()
            return
        try:
            await asyncio.gather(_copy(reader, secured[1]), _copy(secured[0], writer))
        finally:
            for each in (secured[1], writer):
                each.transport.abort()

    async def start() -> asyncio.Server:
        return await asyncio.start_server(accept, "127.0.0.1", 0)

    async def stop(server: asyncio.Server) -> None:
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    server = asyncio.run_coroutine_threadsafe(start(), loop).result(SECONDS)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(server), loop).result(SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while block := await reader.read(65_536):
            writer.write(block)
            await writer.drain()
    writer.close()


def call_local(channel: grpc.Channel, method: str, verb: str = "GET", body: bytes = b"", **metadata: str) -> int:
    """Call an app as its sidecar's peer; return the app's status, or raise grpc.RpcError."""
    message = common_v1.InvokeRequest(method=method, content_type="application/cloudevents+json")
    message.data.value = body
    message.http_extension.verb = common_v1.HTTPExtension.Verb.Value(verb)
    headers = _field(1, b"content-type") + _field(2, _field(1, b"application/cloudevents+json"))
    request = b"\x08\x01" + _field(2, headers) + _field(3, message.SerializeToString())
    pairs = tuple((name.replace("_", "-"), value) for name, value in metadata.items())
    answer: bytes = channel.unary_unary(CALL_LOCAL)(request, metadata=pairs, timeout=SECONDS)
    return _number(_fields(_fields(answer)[1])[1])


def sign(channel: grpc.Channel, app_id: str, token: str, validator: int = JWKS) -> Certificate:
    """Ask sentry for the certificate of an app; raise grpc.RpcError if sentry refuses."""
    key = ec.generate_private_key(ec.SECP256R1())
    wish = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    request = _field(1, app_id.encode()) + _field(2, token.encode()) + _field(4, NAMESPACE.encode())
    request += _field(5, wish.public_bytes(serialization.Encoding.PEM)) + bytes([6 << 3, validator])
    answer: bytes = channel.unary_unary(SIGN)(request, timeout=SECONDS)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Certificate(_fields(answer)[1], secret)


# --- The wire format of protobuf, because no package has the Python code of these two services


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    low, high = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(high) if high else bytes([low])


def _fields(message: bytes) -> dict[int, bytes]:
    """The last value of each field; the value of a number is its varint."""
    found: dict[int, bytes] = {}
    while message:
        tag, message = message[0], message[1:]
        if tag & 7 == 2:
            size, message = _cut(message)
            found[tag >> 3], message = message[: _number(size)], message[_number(size) :]
        else:
            found[tag >> 3], message = _cut(message)
    return found


def _cut(message: bytes) -> tuple[bytes, bytes]:
    size = next(position for position, byte in enumerate(message) if byte < 0x80) + 1
    return message[:size], message[size:]


def _number(varint: bytes) -> int:
    return sum((byte & 0x7F) << 7 * position for position, byte in enumerate(varint))


def refusal(error: Any) -> tuple[grpc.StatusCode, str]:
    """Return the code and the text of a refused call."""
    return error.code(), error.details()
