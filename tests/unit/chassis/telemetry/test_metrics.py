"""Metrics: the counted events and requests, their labels, and the port that serves them."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import httpx
import pytest
from prometheus_client import REGISTRY
from starlette.requests import Request
from starlette.responses import Response

from sidecart.chassis.errors import PermanentError, TransientError
from sidecart.chassis.server.inbound import InboundApp, Subscription
from sidecart.chassis.server.listen import bound
from sidecart.chassis.server.metrics_server import serve_metrics
from sidecart.chassis.settings import SettingError
from sidecart.launcher.ports import free_port


class Counted:
    """The increase of each series since this object was created."""

    def __init__(self) -> None:
        self._before = self._now()

    def __call__(self, name: str, **labels: str) -> float:
        """Return the increase of one series."""
        key = (name, tuple(sorted(labels.items())))
        return self._now().get(key, 0.0) - self._before.get(key, 0.0)

    @staticmethod
    def _now() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in REGISTRY.collect()
            for sample in family.samples
        }

    @classmethod
    def series(cls) -> int:
        """Return the number of series whose names start with `sidecart_`."""
        return sum(name.startswith("sidecart_") for name, _ in cls._now())


def statuses_of(app: InboundApp, *requests: tuple[str, str]) -> list[int]:
    """Send these requests and return the statuses."""

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lamps") as http:
            return [(await http.request(method, path)).status_code for method, path in requests]

    return asyncio.run(ask())


def lamps(problem: Exception | None = None) -> InboundApp:
    """Return an app with a topic, a POST route and a GET route."""
    app = InboundApp()

    async def take(_body: bytes) -> None:
        if problem is not None:
            raise problem

    async def post(_request: Request) -> Response:
        return Response(status_code=201)

    @app.get("/lamp/{id}")
    async def lamp(id: str) -> Response:
        return Response(status_code=404 if id == "none" else 200)

    app.answer_directly("/lamp", post)
    app.subscribe([Subscription("inbox", "Lamp", take)], dead_letters=None)
    return app


def test_requests_are_counted_by_route_and_status() -> None:
    """Requests are counted by route, not by path; a request without a route counts as `other`."""
    counted = Counted()
    statuses = statuses_of(
        lamps(), ("POST", "/lamp"), ("GET", "/lamp/1"), ("GET", "/lamp/2"), ("GET", "/lamp/none"), ("GET", "/x")
    )

    assert [201, 200, 200, 404, 404] == statuses
    assert 1 == counted("sidecart_requests_total", path="/lamp", status="201")
    assert 2 == counted("sidecart_requests_total", path="/lamp/{id}", status="200")
    assert 1 == counted("sidecart_requests_total", path="/lamp/{id}", status="404")
    assert 1 == counted("sidecart_requests_total", path="other", status="404")


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        (None, "done"),
        (PermanentError("bad"), "dead_letter"),
        (TransientError("unreachable"), "again"),
        (KeyError("x"), "bug"),
    ],
)
def test_events_are_counted_by_outcome(problem: Exception | None, outcome: str) -> None:
    """Each event increases exactly one outcome by 1."""
    counted = Counted()
    statuses_of(lamps(problem), ("POST", "/events/inbox/Lamp"))

    found = {
        each: counted("sidecart_events_total", topic="Lamp", outcome=each)
        for each in ("done", "dead_letter", "again", "bug")
    }
    assert {outcome: 1} == {each: number for each, number in found.items() if number}


def test_unknown_paths_and_topics_create_no_series() -> None:
    """Requests to 1,000 unknown paths and topics create no series, so memory stays bounded."""
    app = lamps()
    statuses_of(app, ("GET", "/x"), ("POST", "/x"), ("POST", "/events/inbox/x"))
    before = Counted.series()
    unknown = [uuid.uuid4().hex for _ in range(1_000)]
    statuses_of(
        app,
        *[(method, f"{path}{each}") for each in unknown for method, path in (("GET", "/"), ("POST", "/events/inbox/"))],
    )

    assert before == Counted.series()


def run(scenario: Callable[[int], Awaitable[None]]) -> None:
    """Run a scenario with metrics served on a port."""

    async def play() -> None:
        port = free_port()
        async with serve_metrics(bound("METRICS_PORT", "127.0.0.1", port)):
            await scenario(port)
        with pytest.raises(httpx.ConnectError):
            await get(port, "/metrics")

    asyncio.run(play())


async def get(port: int, path: str) -> httpx.Response:
    """GET from the port."""
    async with httpx.AsyncClient(trust_env=False) as http:
        return await http.get(f"http://127.0.0.1:{port}{path}")


def test_metrics_are_served_on_their_own_port() -> None:
    """The port serves Prometheus text at /metrics and nothing else."""

    async def scenario(port: int) -> None:
        metrics, other = await get(port, "/metrics"), await get(port, "/")

        assert (200, 404) == (metrics.status_code, other.status_code)
        assert metrics.headers["content-type"].startswith("text/plain")
        assert "# TYPE sidecart_requests_total counter\n" in metrics.text
        assert "process_resident_memory_bytes" in metrics.text
        assert "_created" not in metrics.text

    run(scenario)


def test_a_port_in_use_names_the_setting() -> None:
    """A metrics port in use raises SettingError with the setting's name."""

    async def scenario(port: int) -> None:
        with pytest.raises(SettingError, match=r"^setting METRICS_PORT: "):
            async with serve_metrics(bound("METRICS_PORT", "127.0.0.1", port)):
                pass

    run(scenario)


def test_without_a_port_nothing_is_served() -> None:
    """Without a metrics port no server starts."""

    async def scenario() -> None:
        async with serve_metrics([]):
            assert 1 == len(asyncio.all_tasks())

    asyncio.run(scenario())
