"""Attacks on the gateway's HTTP server: tricks with paths, slow requests, too many connections."""

from __future__ import annotations

import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import httpx
import pytest

from sidecart.chassis.server.protocol import BODY_SECONDS_MAX, HEAD_SECONDS_MAX
from sidecart.chassis.settings import CONNECTIONS_PER_ADDRESS_MAX
from sidecart.launcher.topics import GATEWAY
from tests.e2e.attack import Eve, Victim
from tests.e2e.raw import HOST, LAST, Answered, exchange
from tests.e2e.shopper import SECONDS, Shopper

pytestmark = pytest.mark.sidecars

# {v}: the victim, {e}: the attacker, {o}: an order of the victim
OF_OTHERS = (
    *("/user/{v}", "//user/{v}", "/./user/{v}", "/user/./{v}", "/user//{v}", "/user/{v}/", "/user/{v}//"),
    *("/user/../user/{v}", "/order/../user/{v}", "/user/{e}/../{v}", "/user/{e}/../../user/{v}"),
    *("/%75ser/{v}", "/user%2f{v}", "/%2fuser/{v}", "/user/%2e%2e/user/{v}", "/user/{e}/%2e%2e/{v}"),
    *("/user/{e}%2f..%2f{v}", "/user/{e}%2F..%2F..%2Fuser%2F{v}", "/user/{e}%252f..%252f{v}", "/user/{v}%2f.."),
    *("/user/{v};", "/user/{v};a=b", "/user/{e};/../{v}", "/user;/{v}", "/user/{v}%3b", "/user/{v}%00", "/user/{v}%0a"),
    *("/user/{v}%20", "/user/{v}%09", "/user/{v}%0d%0ax:%20y", "/user/%5c{v}", "/user/..%5c{v}", "/user\\{v}"),
    *("/user/{V}", "/user/{e},{v}", "/user/{e}%26{v}", "/user/*", "/user/%2a", "/user/{{id}}", "/USER/{v}"),
    *("/user/{v}?", "/user/{v}?user_id={e}", "/user/{v}?id={e}&id={v}", "/user/{v}%3fid={e}", "/user/{v}%23"),
    *("/account/{v}", "/account/{e}/../{v}", "/account/{e}%2f..%2f{v}", "/account/{e}/deposit/../../{v}"),
    *("/account/{e}/deposit/%2e%2e/%2e%2e/{v}", "/account/{v}/deposit/../", "/notification/{e}/../{v}"),
    *("/notification/{v}", "/order/{o}", "//order/{o}", "/order/{o}/", "/order/{o}%2f", "/order/{o};", "/order/{o}%00"),
    *(
        "http://localhost/user/{v}",
        "http://localhost//user/{v}",
        "http://evil.example/user/{v}",
        "HTTP://[::1]/user/{v}",
    ),
    *("http://localhost:80/user/{e}/../{v}", "http://localhost/%75ser/{v}", "/http://localhost/user/{v}"),
)
"""Targets that a server might take for a path of the victim."""
OF_THE_SIDECAR = (
    *(
        "/dapr/subscribe",
        "//dapr/subscribe",
        "/./dapr/subscribe",
        "/%64apr/subscribe",
        "/dapr%2fsubscribe",
        "/dapr/config",
    ),
    *(
        "/dapr/config",
        "/user/../dapr/subscribe",
        "/user/%2e%2e/dapr/subscribe",
        "/healthz/../dapr/subscribe",
        "/DAPR/subscribe",
    ),
    *("/events/replies/UserCreated", "//events/replies/UserCreated", "/%65vents/replies/UserCreated", "/events"),
    *(
        "/key-secret",
        "//key-secret",
        "/key%2dsecret",
        "/key-secret/",
        "/key-secret;",
        "/healthz/../key-secret",
        "/Key-Secret",
    ),
    *("/reconcile", "//reconcile", "/reconcile/", "/%72econcile", "/readyz/../reconcile", "/readyz%2f..%2freconcile"),
    *("/config", "/config/x", "/job/x", "/actors/x", "/actors/x/y/method/z", "/unfinished/order/x", "/metrics"),
    *("http://localhost/key-secret", "http://localhost//reconcile", "http://127.0.0.1/dapr/subscribe"),
    *("/v1.0/metadata", "/v1.0/state/statestore/key-secrets", "/v1.0/invoke/user/method/user/{v}"),
    *("/docs/../../../etc/passwd", "/docs/%2e%2e/%2e%2e/app.py", "/docs/..%2f..%2fapp.py", "/static/../app.py"),
)
"""Targets that a server might take for a route of the sidecar, or for a file."""
NEVER = ("subscriptions", "pubsubname", "ends_at", "flows", "root:", "import ", "extendedMetadata")
"""Words of the answers that such routes give."""
SLOW = 40
"""Slow clients of each kind."""
CONNECTIONS = 10_000
SOURCES = [f"127.0.1.{number}" for number in range(1, 11)]
"""Addresses of this machine that are no trusted proxies, so each of them counts as one client."""
SERVED_SECONDS = 10.0
"""The limit for a response on a busy machine; it takes milliseconds on an idle one."""


@pytest.mark.attack("requests", "tricks with the path of another user", "owner in the path")
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
def test_no_path_leads_to_another_user(shopper: Shopper, victim: Victim, eve: Eve, method: str) -> None:
    """No spelling of a path shows anything of the victim, or is an error of the server."""
    words = {"v": victim.user_id, "V": victim.user_id.upper(), "e": eve.user_id, "o": victim.order_id}
    for target in OF_OTHERS:
        answer = first(shopper, method, target.format(**words), eve.headers)
        assert 400 <= answer.status < 500 or answer.status == 204, (target, answer)
        assert victim.email.encode() not in answer.body, target
        assert b"cents" not in answer.body, target


@pytest.mark.attack("requests", "tricks with the routes of the sidecar", "token of an app")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "HEAD"])
@pytest.mark.parametrize("is_operator", [False, True], ids=["a user", "an operator"])
def test_no_path_leads_to_a_route_of_the_sidecar(
    shopper: Shopper, victim: Victim, eve: Eve, method: str, is_operator: bool
) -> None:
    """Only the token of the app opens these routes: not the token of an operator either."""
    headers = shopper.caller(eve.email, roles=("operator",)) if is_operator else eve.headers
    for target in OF_THE_SIDECAR:
        answer = first(shopper, method, target.format(v=victim.user_id), headers)
        assert 400 <= answer.status < 500, (target, answer)
        assert [] == [word for word in NEVER if word.encode() in answer.body], target


def first(shopper: Shopper, method: str, target: str, headers: dict[str, str]) -> Answered:
    """Send a target unchanged; return the first response."""
    head = HOST + "".join(f"{name}: {value}\r\n" for name, value in headers.items()).encode()
    body = b"content-length: 2\r\ncontent-type: application/json\r\n\r\n{}" if method in ("POST", "PUT") else b"\r\n"
    sent = f"{method} {target} HTTP/1.1\r\n".encode("latin-1") + head + body
    return exchange(shopper.shop.ports[GATEWAY], sent + LAST, [method])[0]


# --- Slow clients


def slow_head(connection: socket.socket) -> None:
    """Send one byte of a head a second."""
    connection.sendall(b"GET /products HTTP/1.1\r\nhost: localhost\r\nx: ")


def slow_body(connection: socket.socket) -> None:
    """Send one byte of a body a second."""
    connection.sendall(b"POST /order/create HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9999\r\n\r\n{")


def slow_chunks(connection: socket.socket) -> None:
    """Send one byte of a chunk a second."""
    connection.sendall(b"POST /order/create HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n")


def half_head(connection: socket.socket) -> None:
    """Send half a head and nothing more."""
    connection.sendall(b"GET /products HTTP/1.1\r\nhost: loc")


def half_closed(connection: socket.socket) -> None:
    """Send half a head, and close one direction."""
    connection.sendall(b"GET /products HTTP/1.1\r\nhost: loc")
    connection.shutdown(socket.SHUT_WR)


SLOWLY: dict[Callable[[socket.socket], None], tuple[bytes, float]] = {
    slow_head: (b"a", HEAD_SECONDS_MAX),
    slow_body: (b" ", BODY_SECONDS_MAX),
    slow_chunks: (b" ", BODY_SECONDS_MAX),
    half_head: (b"", HEAD_SECONDS_MAX),
    half_closed: (b"", HEAD_SECONDS_MAX),
}
TOLERANCE_SECONDS = 5.0
"""The sweep, the lingering of a closed connection, and this client's own pace."""


@pytest.mark.attack("requests", "slow heads, slow bodies, half-open connections", "time limits")
def test_slow_clients_are_disconnected_and_delay_no_other(shopper: Shopper, victim: Victim) -> None:
    """Each ends within its time limit, all within 35 s, and a normal caller is served meanwhile."""
    port, left = shopper.shop.ports[GATEWAY], dict.fromkeys(SLOWLY, SLOW)
    headers = shopper.caller(victim.email)
    with ExitStack() as stack:
        opened = [(start, client(stack, port)) for start in SLOWLY for _ in range(SLOW)]
        began = time.monotonic()
        for start, connection in opened:
            start(connection)
            connection.setblocking(False)
        ended: dict[str, float] = {}
        with Visitor(f"{shopper.shop.url}/order/{victim.order_id}", headers) as visitor:
            while any(left.values()):
                assert time.monotonic() - began < BODY_SECONDS_MAX + TOLERANCE_SECONDS, left
                opened = [(start, each) for start, each in opened if is_open(each, SLOWLY[start][0])]
                left = {start: [one for one, _ in opened].count(start) for start in SLOWLY}
                for start in SLOWLY:
                    if not left[start]:
                        ended.setdefault(start.__name__, time.monotonic() - began)
                time.sleep(0.5)  # the pace of the slow clients

    print(f"ended after {ended} s; a normal caller: {len(visitor.seconds)} reads, slowest {max(visitor.seconds):.3f} s")
    for start, (_, seconds_max) in SLOWLY.items():
        assert ended[start.__name__] <= seconds_max + TOLERANCE_SECONDS, start.__name__
    assert {200} == visitor.statuses
    assert max(visitor.seconds) < SERVED_SECONDS


def client(stack: ExitStack, port: int, source: str = "127.0.0.9") -> socket.socket:
    """Connect from an address that is no trusted proxy."""
    return stack.enter_context(socket.create_connection(("127.0.0.1", port), SECONDS, source_address=(source, 0)))


def is_open(connection: socket.socket, more: bytes) -> bool:
    """Send more bytes, and return whether the server keeps the connection."""
    try:
        if more:
            connection.send(more)
        return bool(connection.recv(65536)) or False
    except BlockingIOError:
        return True
    except OSError:
        return False


@dataclass(slots=True)
class Visitor:
    """A normal caller in a thread of its own; a context manager."""

    url: str
    headers: dict[str, str]
    statuses: set[int] = field(default_factory=set)
    seconds: list[float] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Visitor:
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        assert self._thread is not None
        self._thread.join()

    def _read(self) -> None:
        """Read with a new connection each time, as a new caller does."""
        while not self._stop.wait(0.1):
            began = time.monotonic()
            answer = httpx.get(self.url, headers=self.headers, timeout=SECONDS, trust_env=False)
            self.seconds.append(time.monotonic() - began)
            self.statuses.add(answer.status_code)


# --- Many connections


@contextmanager
def many_files(count: int) -> Iterator[None]:
    """Allow this process this many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard > count, f"ulimit -Hn is {hard}: the test needs {count} open files"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.attack("requests", "10,000 connections", "limit of connections")
def test_ten_thousand_connections_take_no_place_from_others(shopper: Shopper, victim: Victim) -> None:
    """Each address gets its share and 503 beyond it. Another address is served, and the attackers
    are again when they have closed.
    """
    port, each = shopper.shop.ports[GATEWAY], CONNECTIONS // len(SOURCES)
    headers = shopper.caller(victim.email)
    with many_files(CONNECTIONS + 2_000), ExitStack() as stack:
        began = time.monotonic()
        with Visitor(f"{shopper.shop.url}/order/{victim.order_id}", headers) as visitor:
            opened = {source: [client(stack, port, source) for _ in range(each)] for source in SOURCES}
            seconds = time.monotonic() - began
            refused = {source: statuses(listed[CONNECTIONS_PER_ADDRESS_MAX:]) for source, listed in opened.items()}
            served = {source: asked(listed[:CONNECTIONS_PER_ADDRESS_MAX]) for source, listed in opened.items()}
    print(
        f"{CONNECTIONS} connections in {seconds:.1f} s; a normal caller: {len(visitor.seconds)} reads, "
        f"slowest {max(visitor.seconds):.3f} s"
    )

    assert {source: {503} for source in SOURCES} == refused
    assert {source: {200} for source in SOURCES} == served
    assert {200} == visitor.statuses
    assert max(visitor.seconds) < 5.0
    shopper.until(lambda: again(port), "a place for each attacker")
    assert not shopper.shop.dead


def statuses(connections: Sequence[socket.socket]) -> set[int]:
    """Return the statuses that the server sent without a request."""
    return {int(each.recv(65536).split(b" ", 2)[1]) for each in connections}


def asked(connections: Sequence[socket.socket]) -> set[int]:
    """Send a request on each connection; return the statuses."""
    for each in connections:
        each.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n")
    return statuses(connections)


def again(port: int) -> bool:
    """Return whether each address is served again."""
    with ExitStack() as stack:
        try:
            return {200} == asked([client(stack, port, source) for source in SOURCES])
        except (OSError, IndexError):
            return False
