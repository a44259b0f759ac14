"""What is counted, under which labels, and where it is read."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable

import httpx
import pytest
from prometheus_client import REGISTRY
from starlette.requests import Request
from starlette.responses import Response

from chassis.errors import PermanentError, TransientError
from chassis.inbound import InboundApp, Subscription
from chassis.listen import bound
from chassis.metrics_server import serve_metrics
from chassis.settings import SettingError
from cli.ports import free_port


class Counted:
    """What the figures rose by since this was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def __call__(self, name: str, **labels: str) -> float:
        """By how much one series rose."""
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
        """How many series of ours there are."""
        return sum(name.startswith("sidecart_") for name, _ in cls._now())


def asked(app: InboundApp, *requests: tuple[str, str]) -> list[int]:
    """The statuses of some requests."""

    async def ask() -> list[int]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lamps") as http:
            return [(await http.request(method, path)).status_code for method, path in requests]

    return asyncio.run(ask())


def lamps(problem: Exception | None = None) -> InboundApp:
    """An app with a topic, a post and a read."""
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
    """Not by path; what no route takes is "other"."""
    counted = Counted()
    statuses = asked(
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
def test_events_are_counted_by_what_became_of_them(problem: Exception | None, outcome: str) -> None:
    """One each."""
    counted = Counted()
    asked(lamps(problem), ("POST", "/events/inbox/Lamp"))

    found = {
        each: counted("sidecart_events_total", topic="Lamp", outcome=each)
        for each in ("done", "dead_letter", "again", "bug")
    }
    assert {outcome: 1} == {each: number for each, number in found.items() if number}


def test_a_thousand_strange_paths_and_topics_make_no_series() -> None:
    """Whoever can reach a port cannot fill the memory."""
    app = lamps()
    asked(app, ("GET", "/x"), ("POST", "/x"), ("POST", "/events/inbox/x"))
    before = Counted.series()
    strange = [uuid.uuid4().hex for _ in range(1_000)]
    asked(
        app,
        *[(method, f"{path}{each}") for each in strange for method, path in (("GET", "/"), ("POST", "/events/inbox/"))],
    )

    assert before == Counted.series()


def run(scenario: Callable[[int], Awaitable[None]]) -> None:
    """With figures to be read at a port."""

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


def test_the_metrics_are_read_at_a_port_of_their_own() -> None:
    """As Prometheus wants them, and nothing else is there."""

    async def scenario(port: int) -> None:
        figures, other = await get(port, "/metrics"), await get(port, "/")

        assert (200, 404) == (figures.status_code, other.status_code)
        assert figures.headers["content-type"].startswith("text/plain")
        assert "# TYPE sidecart_requests_total counter\n" in figures.text
        assert "process_resident_memory_bytes" in figures.text
        assert "_created" not in figures.text

    run(scenario)


def test_a_port_that_is_taken_ends_the_start_by_the_settings_name() -> None:
    """Not with figures that nobody can read."""

    async def scenario(port: int) -> None:
        with pytest.raises(SettingError, match=r"^setting METRICS_PORT: "):
            async with serve_metrics(bound("METRICS_PORT", "127.0.0.1", port)):
                pass

    run(scenario)


def test_without_a_port_nobody_listens() -> None:
    """The default."""

    async def scenario() -> None:
        async with serve_metrics([]):
            assert 1 == len(asyncio.all_tasks())

    asyncio.run(scenario())
