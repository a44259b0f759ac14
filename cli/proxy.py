"""One address for several gateways: HAProxy in front of them, as our own child."""

import json
import resource
import shutil
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

from chassis.request_head import HEAD_BYTES_MAX, HEADERS_MAX
from cli.errors import LaunchError

NAME = "proxy"
STOP_SECONDS = 40
CONNECTIONS_MAX = 45_000
FILES_OF_ITS_OWN = 200
DRAIN_SECONDS = 2
"""A gateway that is told to stop says so in /readyz and serves for so long: four looks of the proxy."""

NOT_INSTALLED = "HAProxy is not installed (several gateways need it): run `make system-deps`"

CONFIGURATION = """\
global
    maxconn {connections}
    # A head that is too large for a gateway reaches it and gets its 431; twice as large a head is a 400 of the proxy's.
    tune.bufsize {head_bytes}
    tune.http.maxhdr {headers}
    hard-stop-after 35s
defaults
    mode http
    maxconn {connections}
    timeout connect 2s
    timeout client 60s
    # A gateway answers within 31 s (Prefer: wait=30, and a second to write the pending command): see
    # gateway/deadline.py. Later than that it is gone or paused, and only then does the proxy answer for it.
    timeout server 45s
    timeout queue 5s
    # A request that reached no gateway goes to another one. One that did is not sent twice: its Idempotency-Key, if the
    # caller gave one, makes it safe for him to say it again.
    retries 3
    retry-on conn-failure
    option redispatch 1
    # A connection to a gateway carries one request: an idle one might just be closing, and lose the next.
    option http-server-close
    # HTTP/2 with prior knowledge is refused, as a gateway refuses it.
    option disable-h2-upgrade
frontend shop
    bind 127.0.0.1:{port}
    # Not among the defaults: HAProxy 2.6.12 ends by SIGSEGV when it writes a format with arguments from there.
{errors}    # While the store refuses writes no gateway is ready, and each can still read.
    use_backend reads if METH_GET !{{ nbsrv(gateways) gt 0 }}
    default_backend gateways
backend gateways
    balance leastconn
    # Without the broker: while it blocks publishing, a gateway still reads and answers 202. No other one does better.
    option httpchk GET /readyz?exclude=broker
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1 maxconn 20000
{servers}backend reads
    balance roundrobin
    default-server check inter 500ms fall 2 rise 1 maxconn 20000
{servers}"""

BUFFER_BYTES_SPARE = 8 * 1024
HEADERS_SPARE = 100
"""What HAProxy keeps room for beside a head: its own headers, and the reserve for rewriting."""

PROBLEMS = {  # status -> type and detail of an answer that no gateway gave
    400: ("not_http", "this is no HTTP/1.1 request that the proxy can read, or its head is far too large"),
    408: ("incomplete", "the request was not there in time"),
    413: ("too_large", "the request is too large for the proxy"),
    500: ("internal", "something is wrong in the proxy"),
    501: ("not_http", "the only transfer coding here is chunked"),
    502: ("outcome-unknown", "a gateway broke off its answer; repeat the request with its Idempotency-Key"),
    503: ("unavailable", "no gateway is ready; try again"),
    504: ("outcome-unknown", "a gateway did not answer in time; repeat the request with its Idempotency-Key"),
}
RETRY_AFTER_SECONDS = {503: 1}


def _problems() -> Iterator[str]:
    """Lines that make the proxy's own errors problems like the gateway's (contracts/http/problem.json)."""
    for status, (kind, detail) in PROBLEMS.items():
        title = HTTPStatus(status).phrase
        problem = {"type": f"urn:sidecart:problem:{kind}", "title": title, "status": status, "detail": detail}
        # The proxy reads no traceparent; a new trace id is what the gateway gives to a request without one.
        body = json.dumps({**problem, "trace_id": "%[uuid(),regsub(-,,g)]"}, separators=(",", ":"))
        retry = f" hdr retry-after {RETRY_AFTER_SECONDS[status]}" if status in RETRY_AFTER_SECONDS else ""
        yield (
            f"    http-error status {status} content-type application/problem+json"
            f" lf-string '{body}' hdr cache-control no-store{retry}\n"
        )


def _connections() -> int:
    """As many as may be open: each takes two files, and the proxy does not start with more than it may have."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, (files - FILES_OF_ITS_OWN) // 2)


def unavailable() -> str | None:
    """Say why no proxy can be had here, or None."""
    return None if _program() else NOT_INSTALLED


def _program() -> str | None:
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def command(folder: Path, port: int, gateways: Mapping[str, int]) -> list[str]:
    """Write the configuration for gateways at these ports, and return the command line."""
    program = _program()
    if program is None:
        raise LaunchError(NOT_INSTALLED)
    configuration = folder / "haproxy.cfg"
    servers = "".join(f"    server {name} 127.0.0.1:{at}\n" for name, at in gateways.items())
    text = CONFIGURATION.format(
        errors="".join(_problems()),
        port=port,
        connections=_connections(),
        head_bytes=2 * HEAD_BYTES_MAX + BUFFER_BYTES_SPARE,
        headers=HEADERS_MAX + HEADERS_SPARE,
        servers=servers,
    )
    configuration.write_text(text, encoding="utf-8")
    return [program, "-db", "-f", str(configuration)]
