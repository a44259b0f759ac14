"""HAProxy, which offers several gateways at one address: a child process, or a container.

`.venv/bin/python -m sidecart.launcher.proxy` writes the configuration for containers.
"""

import json
import os
import resource
import shutil
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

from sidecart.chassis.server.protocol import HEAD_SECONDS_MAX
from sidecart.chassis.server.request_head import HEAD_BYTES_MAX, HEADERS_MAX
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import pod_name_of, replicas_of

NAME = "proxy"
STOP_SECONDS = 40
CONNECTIONS_MAX = 45_000
FILES_OF_ITS_OWN = 200
DRAIN_SECONDS = 2
"""How long a stopping gateway serves while /readyz reports the stop; the proxy sees it in 1.5 s."""

NOT_INSTALLED = "HAProxy is not installed (several gateways need it): run `make system-deps`"

CONFIGURATION = """\
global
    maxconn {connections}
    # A head that is too large for a gateway still reaches it and gets its 431. The proxy answers
    # 400 to a head of twice that size.
    tune.bufsize {head_bytes}
    tune.http.maxhdr {headers}
    hard-stop-after 35s
defaults
    mode http
    maxconn {connections}
    timeout connect 2s
    timeout client 60s
    timeout http-request {head_seconds}s
    # Without it, the limit of a head would end an idle connection, which the client may be using.
    timeout http-keep-alive 60s
    # The gateway limits each address. It counts the last one in this header that is no proxy.
    option forwardfor
    # A connection without a byte is no request: browsers open some in advance.
    option http-ignore-probes
    # A gateway answers within 31 s (Prefer: wait=30, and a second to write the pending command):
    # see src/sidecart/edge/command.py. After that it has crashed or is paused, and the proxy answers.
    timeout server 45s
    timeout queue 5s
    timeout check 500ms
    # The proxy sends a request that reached no gateway to another one. It never repeats a request
    # that reached one; an Idempotency-Key makes it safe for the caller to do so.
    retries 3
    retry-on conn-failure
    option redispatch 1
    # Each connection to a gateway carries one request: an idle connection might be closing and
    # lose the next one.
    option http-server-close
    # The proxy refuses HTTP/2 with prior knowledge, as a gateway does.
    option disable-h2-upgrade
frontend entrance
    bind {bind}
    # Not in defaults: HAProxy 2.6.12 dies of SIGSEGV when it writes a format with arguments there.
{errors}    # While the store refuses writes, no gateway is ready, but each one can still read.
    # /readyz is 200 only when the proxy sends writes to a gateway: its checks see a gateway up to
    # half a second after it became ready.
    use_backend reads if METH_GET !{{ path /readyz }} !{{ nbsrv(gateways) gt 0 }}
    use_backend few if {{ be_conn(few) lt {together} }}
    default_backend gateways
backend few
    # The first gateways share this many requests, and all gateways those beyond. A gateway with
    # several requests handles more of them each time it wakes up, so each takes less CPU time (ADR
    # 69). No request waits for a place: while a dead gateway still counts, the others take all.
    balance leastconn
    option allbackups
    default-server maxconn 20000{options}
{tracking}backend gateways
    balance leastconn
    # Excludes the broker: while it blocks publishing, every gateway still reads and answers 202.
    option httpchk GET /readyz?exclude=broker
    http-check expect status 200
    # Each check costs a gateway a new connection. A failed one is repeated soon, so a gateway that
    # stops is found within 1.5 s; the launcher lets it serve for 2 s.
    default-server check inter 1s fastinter 500ms downinter 500ms fall 2 rise 1 maxconn 20000{options}
{servers}backend reads
    balance roundrobin
    # A request that finds a gateway closed goes to another one before this check fails.
    default-server check inter 4s fastinter 500ms downinter 500ms fall 2 rise 1 maxconn 20000{options}
{servers}{resolvers}"""

FEW = 2
"""Gateways that share the requests at a low load: one could not take over at once from another."""
TOGETHER = 16
"""Requests for each of these gateways before the others get any. They wait for each other for less
than 20 ms, because a gateway spends about 1 ms on each.
"""
TOGETHER_ALL_CORES = 64
"""On a machine with few cores a gateway gets more: others could not run beside it."""

CONTAINERS_FILE = "tye-or-compose/haproxy.cfg"
CONTAINERS_CONNECTIONS_MAX = 4_000
"""Each takes two files, of at least 10,000 that a container engine allows."""
CONTAINERS = replicas_of(GATEWAY, 3)
"""The gateways of the compose file."""
APP_PORT = 8000
RESOLVERS = """\
# Containers start in any sequence, and get another address when they start again.
resolvers containers
    parse-resolv-conf
    hold valid 1s
    hold nx 1s
    hold other 1s
    timeout resolve 1s
    timeout retry 1s
"""

BUFFER_BYTES_SPARE = 8 * 1024
HEADERS_SPARE = 100
"""The space that HAProxy needs besides a request head: its own headers and the rewrite reserve."""

PROBLEMS = {  # maps a status to the type and detail of a response by the proxy itself
    400: ("not_http", "the proxy cannot parse this as an HTTP/1.1 request, or its head is far too large"),
    408: ("incomplete", "the request did not arrive in time"),
    413: ("too_large", "the request is too large for the proxy"),
    500: ("internal", "the proxy failed"),
    501: ("not_http", "the only supported transfer coding is chunked"),
    502: ("outcome-unknown", "a gateway failed during its response; repeat the request with its Idempotency-Key"),
    503: ("unavailable", "no gateway is ready; try again"),
    504: ("outcome-unknown", "a gateway did not answer in time; repeat the request with its Idempotency-Key"),
}
RETRY_AFTER_SECONDS = {503: 1}


def _problems() -> Iterator[str]:
    """Yield lines that turn the proxy's own errors into problem details like the gateway's.

    The schema is contracts/http/problem.json.
    """
    for status, (kind, detail) in PROBLEMS.items():
        title = HTTPStatus(status).phrase
        problem = {"type": f"urn:sidecart:problem:{kind}", "title": title, "status": status, "detail": detail}
        # The proxy does not read traceparent. Like the gateway, it generates a trace id for a
        # request without one.
        body = json.dumps({**problem, "trace_id": "%[uuid(),regsub(-,,g)]"}, separators=(",", ":"))
        retry = f" hdr retry-after {RETRY_AFTER_SECONDS[status]}" if status in RETRY_AFTER_SECONDS else ""
        yield (
            f"    http-error status {status} content-type application/problem+json"
            f" lf-string '{body}' hdr cache-control no-store{retry}\n"
        )


def _tracking(servers: Mapping[str, str]) -> Iterator[str]:
    """Yield the first gateways, and the others for the time in which none of these is ready."""
    for number, (name, at) in enumerate(servers.items()):
        yield f"    server {name} {at} track gateways/{name}{' backup' if number >= FEW else ''}\n"


def together() -> int:
    """Return the requests for each of the first gateways on this machine before others get any."""
    return max(TOGETHER, TOGETHER_ALL_CORES // (os.cpu_count() or 1))


def _connections() -> int:
    """Return the connection limit.

    Each connection takes two files, and HAProxy does not start if the file limit is too low.
    """
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, (files - FILES_OF_ITS_OWN) // 2)


def unavailable() -> str | None:
    """Return why no proxy is available, or None."""
    return None if _program() else NOT_INSTALLED


def _program() -> str | None:
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def command(folder: Path, port: int, gateways: Mapping[str, int]) -> list[str]:
    """Write the configuration for gateways at these ports; return the command line."""
    program = _program()
    if program is None:
        raise LaunchError(NOT_INSTALLED)
    configuration = folder / "haproxy.cfg"
    servers = {name: f"127.0.0.1:{at}" for name, at in gateways.items()}
    configuration.write_text(_configuration(f"127.0.0.1:{port}", _connections(), servers, together()), encoding="utf-8")
    return [program, "-db", "-f", str(configuration)]


def container_configuration() -> str:
    """Return the configuration for the containers of the gateways."""
    servers = {pod_name_of(name): f"{name}:{APP_PORT}" for name in CONTAINERS}
    options = " resolvers containers init-addr none resolve-prefer ipv4"
    return _configuration(f":{APP_PORT}", CONTAINERS_CONNECTIONS_MAX, servers, TOGETHER, options, RESOLVERS)


def _configuration(
    bind: str, connections: int, servers: Mapping[str, str], requests: int, options: str = "", resolvers: str = ""
) -> str:
    return CONFIGURATION.format(
        errors="".join(_problems()),
        bind=bind,
        connections=connections,
        head_seconds=int(HEAD_SECONDS_MAX),
        head_bytes=2 * HEAD_BYTES_MAX + BUFFER_BYTES_SPARE,
        headers=HEADERS_MAX + HEADERS_SPARE,
        together=FEW * requests,
        servers="".join(f"    server {name} {at}\n" for name, at in servers.items()),
        tracking="".join(_tracking(servers)),
        options=options,
        resolvers=resolvers,
    )


if __name__ == "__main__":
    (root() / CONTAINERS_FILE).write_text(container_configuration(), encoding="utf-8")
