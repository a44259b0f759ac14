"""A tap on the broker: a consumer with its own sidecar that receives every event."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.request
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.topic_scopes import TAP, publisher_of
from sidecart.launcher.topics import GATEWAY, INBOX, Subscription, probe_topic, read_topics
from sidecart.launcher.topology import sidecar_of

APP_ID = TAP
PROBE = probe_topic(GATEWAY, f"{GATEWAY}-0")
"""The tap may publish nothing. It waits for a probe event that the gateway's sidecar publishes."""
READY_SECONDS = 60
PUBLISH_SECONDS_MAX = 10


@dataclass(frozen=True, slots=True)
class Seen:
    """One received event, its topic, and the time in seconds of the wall clock."""

    topic: str
    event: dict[str, Any]
    at: float


class Sightings:
    """Collects received events, calls `show` for each, and lets a caller wait for one."""

    def __init__(self, show: Callable[[Seen], None] = lambda _seen: None) -> None:
        self._show = show
        self._seen: list[Seen] = []
        self._arrived = threading.Condition()

    @property
    def seen(self) -> list[Seen]:
        """All events so far in the sequence of arrival, including duplicates."""
        with self._arrived:
            return list(self._seen)

    def add(self, topic: str, event: dict[str, Any]) -> None:
        """Record an event that arrives now."""
        seen = Seen(topic, event, time.time())
        with self._arrived:
            self._seen.append(seen)
            self._show(seen)
            self._arrived.notify_all()

    def wait(self, condition: Callable[[Seen], bool], seconds: float) -> Seen | None:
        """Return the first event that meets the condition; None after the timeout."""
        end = time.monotonic() + seconds
        examined = 0
        with self._arrived:
            while True:
                for one in self._seen[examined:]:
                    if condition(one):
                        return one
                examined = len(self._seen)
                left = end - time.monotonic()
                if left <= 0:
                    return None
                self._arrived.wait(left)


class Tap(Sightings):
    """Receives every event after it is entered; a context manager inside that of its system.

    The tap calls `show` for each event from a thread of its own.
    """

    def __init__(self, system: System, show: Callable[[Seen], None] = lambda _seen: None) -> None:
        super().__init__(show)
        self._system = system
        self._probe_arrived = False
        self._server: ThreadingHTTPServer | None = None

    def __enter__(self) -> Self:
        port = free_port()
        self._server = _Server(("127.0.0.1", port), self._take, self._system.tokens[APP_ID])
        threading.Thread(target=self._server.serve_forever, name="tap", daemon=True).start()
        try:
            self._system.sidecars.start_for(APP_ID, port)
            self._wait_until_subscribed()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the sidecar and the consumer."""
        self._system.sidecars.stop(APP_ID)
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def publish(self, topic: str, body: bytes, content_type: str = "application/cloudevents+json") -> int:
        """Publish any body through the sidecar of the topic's publisher; return the sidecar's
        status.
        """
        return publish(self._system.ports, self._system.tokens, topic, body, content_type)

    def _take(self, topic: str, event: dict[str, Any]) -> None:
        if topic == PROBE:
            self._probe_arrived = True
        else:
            self.add(topic, event)

    def _wait_until_subscribed(self) -> None:
        """Wait until the broker knows every subscription and the tap's probe event arrives."""
        system, broker = self._system, self._system.broker
        # An earlier tap may have left subscriptions, so known subscriptions do not show that this
        # tap receives events.
        system.deadline.until(
            lambda: is_listening(system.sidecars.port(APP_ID)),
            READY_SECONDS,
            lambda: (
                f"the tap's sidecar did not start in {READY_SECONDS} s: see {system.logs / f'{APP_ID}-sidecar.log'}"
            ),
        )
        topics = [Subscription(APP_ID, APP_ID, INBOX, topic) for topic in (*read_topics(), PROBE)]
        system.deadline.until(
            lambda: not broker.missing(system.broker_address, topics),
            READY_SECONDS,
            lambda: f"the tap is not subscribed after {READY_SECONDS} s: see {system.logs / f'{APP_ID}-sidecar.log'}",
        )
        self._publish_probe()
        system.deadline.until(
            lambda: self._probe_arrived,
            READY_SECONDS,
            lambda: f"the tap's probe event did not arrive within {READY_SECONDS} s",
        )

    def _publish_probe(self) -> None:
        probe_id = str(uuid.uuid4())
        event = {"specversion": "1.0", "id": probe_id, "type": PROBE, "source": APP_ID, "data": {}}
        self.publish(PROBE, json.dumps(event).encode())


def publish(
    ports: Mapping[str, int],
    tokens: Mapping[str, str],
    topic: str,
    body: bytes,
    content_type: str = "application/cloudevents+json",
) -> int:
    """Publish any body through the sidecar of the topic's publisher; return the status."""
    sidecar = sidecar_of(str(publisher_of(topic)))
    url = f"http://127.0.0.1:{ports[sidecar]}/v1.0/publish/pubsub/{topic}"
    headers = {"content-type": content_type, "dapr-api-token": tokens[sidecar]}
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, body, headers)
    with opener.open(request, timeout=PUBLISH_SECONDS_MAX) as answer:
        return int(answer.status)


class _Server(ThreadingHTTPServer):
    """The tap's app, which its sidecar calls."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], take: Callable[[str, dict[str, Any]], None], token: str) -> None:
        super().__init__(address, _Handler)
        self.take = take
        self.token = token


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        """Answer the health check and the request for subscriptions."""
        if self.path == "/dapr/subscribe":
            self._answer(200, _subscriptions([*read_topics(), PROBE]))
        else:
            self._answer(200 if self.path == "/healthz" else 404)

    def do_POST(self) -> None:
        """Receive one event."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        if self.headers.get("dapr-api-token") != self.server.token:
            self._answer(403)
            return
        event = _event(body)
        if event is not None:
            self.server.take(self.path.rsplit("/", 1)[-1], event)
        self._answer(200)

    def _answer(self, status: int, body: bytes = b"") -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing: the events are the output."""


def _event(delivery: bytes) -> dict[str, Any] | None:
    """Return the event in the broker's form; None for a message that is not an event.

    The services keep such a message as a dead letter.
    """
    try:
        event = json.loads(base64.b64decode(json.loads(delivery)["data_base64"]))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) else None


def _subscriptions(topics: Sequence[str]) -> bytes:
    # without it, a message that is not an event would stay at the broker and block the topic
    raw = {"rawPayload": "true"}
    return json.dumps(
        [{"pubsubname": INBOX, "topic": topic, "route": f"/events/{topic}", "metadata": raw} for topic in topics]
    ).encode()
