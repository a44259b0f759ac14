"""One address for several gateways: HAProxy in front of them, as our own child."""

import resource
import shutil
from collections.abc import Mapping
from pathlib import Path

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
    hard-stop-after 35s
defaults
    mode http
    maxconn {connections}
    timeout connect 2s
    timeout client 60s
    # A gateway answers within 31 s (Prefer: wait=30, and a second to write the promise): see gateway/deadline.py. Later
    # than that it is gone or paused, and only then does the proxy answer for it.
    timeout server 45s
    timeout queue 5s
    # A request that reached no gateway goes to another one. One that did is not sent twice: its Idempotency-Key, if the
    # caller gave one, makes it safe for him to say it again.
    retries 3
    retry-on conn-failure
    option redispatch 1
    # A connection to a gateway carries one request: an idle one might just be closing, and lose the next.
    option http-server-close
    errorfile 503 "{errors}"
frontend shop
    bind 127.0.0.1:{port}
    default_backend gateways
backend gateways
    balance leastconn
    # Without the broker: while it blocks publishing, a gateway still reads and answers 202. No other one does better.
    option httpchk GET /readyz?exclude=broker
    http-check expect status 200
    default-server check inter 500ms fall 2 rise 1 maxconn 20000
"""

NOBODY_READY = """\
HTTP/1.1 503 Service Unavailable\r
content-type: application/problem+json\r
cache-control: no-store\r
retry-after: 1\r
connection: close\r
\r
{"type":"urn:sidecart:problem:unavailable","title":"Service Unavailable","status":503,\
"detail":"no gateway is ready; try again"}"""


def _connections() -> int:
    """As many as may be open: each takes two files, and the proxy does not start with more than it may have."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return CONNECTIONS_MAX if files == resource.RLIM_INFINITY else min(CONNECTIONS_MAX, (files - FILES_OF_ITS_OWN) // 2)


def command(folder: Path, port: int, gateways: Mapping[str, int]) -> list[str]:
    """Write the configuration for gateways at these ports, and return the command line."""
    program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")
    if program is None:
        raise LaunchError(NOT_INSTALLED)
    errors, configuration = folder / "nobody-ready.http", folder / "haproxy.cfg"
    errors.write_bytes(NOBODY_READY.encode())
    servers = "".join(f"    server {name} 127.0.0.1:{at}\n" for name, at in gateways.items())
    text = CONFIGURATION.format(errors=errors, port=port, connections=_connections())
    configuration.write_text(text + servers, encoding="utf-8")
    return [program, "-db", "-f", str(configuration)]
