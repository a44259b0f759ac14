"""Serving: the token check, responses to events, readiness and health."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web
from fastapi import FastAPI

from sidecart.chassis import store_health
from sidecart.chassis.dead_letters import DeadLetters
from sidecart.chassis.errors import PermanentError, SidecarUnavailable, TransientError
from sidecart.chassis.server import loopback_probe
from sidecart.chassis.server.inbound import InboundApp, SidecarAuth, Subscription
from sidecart.chassis.server.serve import Read, ServiceWiring, background, server_config, service_app
from sidecart.chassis.settings import Settings
from sidecart.chassis.sidecar import Sidecar, connect
from sidecart.chassis.store_health import StoreHealth
from tests.unit.chassis.daprd import Daprd, daprd, until

ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"
TOKEN = ("dapr-api-token", "in-token")
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
EVENT = json.dumps({"id": ID}).encode()


class Lamps:
    """A service with one topic and one read, its client with the token, and its failures."""

    def __init__(self, fake: Daprd, app: SidecarAuth) -> None:
        self.daprd = fake
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lamps")
        self.handled: list[bytes] = []
        self.problem: Exception | None = None
        self.found: bytes | None = b'{"n": 1}'
        self.background_events: list[str] = []
        self.store = StoreHealth()

    async def take(self, body: bytes) -> None:
        """Handle one event."""
        self.handled.append(body)
        if self.problem is not None:
            raise self.problem

    async def shine(self, dead_letters: DeadLetters) -> None:
        """Run as background work until canceled."""
        self.background_events.append(type(dead_letters).__name__)
        try:
            await asyncio.Event().wait()
        finally:
            self.background_events.append("stopped")

    async def ask(self, path: str, *headers: tuple[str, str]) -> httpx.Response:
        """Send a GET with only these headers."""
        return await self.http.get(path, headers=list(headers))

    async def deliver(self, topic: str = "Lamp", body: bytes = EVENT) -> int:
        """Deliver one event as the sidecar does; return the status, and check the empty body."""
        answer = await self.http.post(f"/events/inbox/{topic}", content=body, headers=[TOKEN, ("traceparent", TRACE)])
        assert b"" == answer.content
        return answer.status_code

    def probes(self) -> list[dict[str, Any]]:
        """Return the published probe events."""
        paths = "/v1.0/publish/pubsub/Probe-lamps"
        return [json.loads(call.body) for call in self.daprd.calls if call.path == paths]


@asynccontextmanager
async def running(fake: Daprd) -> AsyncIterator[Lamps]:
    """Run one service with a fake daprd."""

    def wire(sidecar: Sidecar) -> ServiceWiring:
        async def find(params: Any) -> bytes | None:
            if params["id"] == "unreachable":
                await sidecar.load("unreachable")
            return lamps.found if params["id"] == "1" else None

        return ServiceWiring([Subscription("inbox", "Lamp", lamps.take)], [Read("/lamp/{id}", find)], lamps.shine)

    app = service_app("lamps", Settings("127.0.0.1", 1, fake.port, "in-token", "out-token"), wire)
    assert isinstance(app, SidecarAuth)
    lamps = Lamps(fake, app)
    inner = app._app
    assert isinstance(inner, FastAPI)
    async with inner.router.lifespan_context(inner), lamps.http:
        lamps.store = inner.state.sidecar.store
        await until(lambda: lamps.store.problem == "" or bool(fake.refuses_writes))
        yield lamps


def play(scenario: Callable[[Lamps], Awaitable[None]]) -> None:
    """Run one scenario."""

    async def run() -> None:
        async with daprd() as fake, running(fake) as lamps:
            await scenario(lamps)

    asyncio.run(run())


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("dapr-api-token", "")],
        [("dapr-api-token", "wrong")],
        [("dapr-api-token", "in-token2")],
        [("dapr-api-token", "in-tok\xe9n")],
        [("dapr-api-token", "out-token")],
        [("authorization", "in-token")],
        [TOKEN, TOKEN],
        [("dapr-api-token", "wrong"), TOKEN],
        [TOKEN, ("dapr-api-token", "wrong")],
    ],
    ids=["none", "empty", "wrong", "longer", "not ASCII", "other token", "other header", "twice", "second", "first"],
)
@pytest.mark.parametrize("path", ["/events/inbox/Lamp", "/dapr/subscribe", "/lamp/1", "/readyz", "/", "/healthz/"])
def test_every_path_but_healthz_needs_the_token(path: str, headers: list[tuple[str, str]]) -> None:
    """A request without exactly one correct token is answered 403 and reaches no handler."""

    async def scenario(lamps: Lamps) -> None:
        raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
        answers = [await lamps.http.request(method, path, headers=raw) for method in ("GET", "POST")]

        assert [403, 403] == [answer.status_code for answer in answers]
        assert [] == lamps.handled

    play(scenario)


def test_a_read_with_the_token_is_answered() -> None:
    """A read with the correct token returns its JSON."""

    async def scenario(lamps: Lamps) -> None:
        answer = await lamps.ask("/lamp/1", TOKEN)

        assert (200, b'{"n": 1}') == (answer.status_code, answer.content)
        assert "application/json" == answer.headers["content-type"]

    play(scenario)


def test_health_is_open() -> None:
    """/healthz needs no token, because a health probe carries none."""

    async def scenario(lamps: Lamps) -> None:
        assert 200 == (await lamps.ask("/healthz")).status_code

    play(scenario)


def test_the_sidecar_auth_lets_the_lifespan_through() -> None:
    """SidecarAuth passes lifespan messages on, because it checks HTTP requests only."""

    async def scenario() -> list[str]:
        seen: list[str] = []

        async def app(scope: Any, receive: Any, send: Any) -> None:
            seen.append(scope["type"])

        async def nothing(*_: Any) -> Any:
            raise AssertionError

        await SidecarAuth(app, "in-token")({"type": "lifespan"}, nothing, nothing)
        return seen

    assert ["lifespan"] == asyncio.run(scenario())


def test_the_app_lists_its_subscriptions() -> None:
    """The app subscribes to the service's topics and its probe, without a dead-letter topic."""

    async def scenario(lamps: Lamps) -> None:
        listed = (await lamps.ask("/dapr/subscribe", TOKEN)).json()

        routes = {each["topic"]: each.get("route") for each in listed}
        assert {"Lamp": "/events/inbox/Lamp", "Probe-lamps": "/events/inbox/Probe-lamps"} == routes
        assert {"inbox"} == {each["pubsubname"] for each in listed}
        assert not any(each.get("deadLetterTopic") for each in listed)

    play(scenario)


def test_a_handled_event_is_answered_200() -> None:
    """A handled event is answered 200, and its bytes reach the handler unchanged."""

    async def scenario(lamps: Lamps) -> None:
        assert 200 == await lamps.deliver(body=b"\xff not JSON")
        assert [b"\xff not JSON"] == lamps.handled
        assert {} == lamps.daprd.state

    play(scenario)


@pytest.mark.parametrize("fault", [TransientError("unreachable"), SidecarUnavailable("unreachable")])
def test_a_transient_error_is_answered_500_and_nothing_is_written(fault: Exception) -> None:
    """A transient error is answered 500 and writes nothing; the broker redelivers the event."""

    async def scenario(lamps: Lamps) -> None:
        lamps.problem = fault

        assert 500 == await lamps.deliver()
        assert {} == lamps.daprd.state

    play(scenario)


def test_a_permanent_error_is_answered_200_with_a_dead_letter() -> None:
    """A permanent error stores a dead letter with the event, the reason and the trace."""

    async def scenario(lamps: Lamps) -> None:
        lamps.problem = PermanentError("no such lamp")

        assert 200 == await lamps.deliver()
        letter = json.loads(lamps.daprd.state[f"dead:{ID}"][0])
        del letter["time"]
        expected = {"event": EVENT.decode(), "topic": "Lamp", "reason": "no such lamp", "traceparent": TRACE}
        assert expected == letter
        assert {"ids": [ID]} == json.loads(lamps.daprd.state["dead-index:0"][0])

    play(scenario)


def test_a_dead_letter_that_cannot_be_written_is_answered_500(caplog: pytest.LogCaptureFixture) -> None:
    """The event stays with the broker until its dead letter is stored; only then is it logged."""

    async def scenario(lamps: Lamps) -> None:
        lamps.problem = PermanentError("no such lamp")
        await lamps.daprd.published.wait()
        lamps.daprd.answers = [web.Response(status=500), web.Response(status=500)]

        assert 500 == await lamps.deliver()
        assert "Lamp will be redelivered" in caplog.text
        assert "dead letter from Lamp" not in caplog.text
        assert 200 == await lamps.deliver()
        assert f"dead:{ID}" in lamps.daprd.state
        assert "dead letter from Lamp" in caplog.text

    play(scenario)


def test_an_app_without_dead_letters_drops_a_malformed_event() -> None:
    """An app without dead letters, such as the gateway, logs a malformed event and answers 200."""

    async def scenario() -> int:
        async def take(_body: bytes) -> None:
            raise PermanentError("malformed")

        app = InboundApp()
        app.subscribe([Subscription("replies", "Lamp", take)], dead_letters=None)
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://lamps") as http:
            return (await http.post("/events/replies/Lamp", content=b"x")).status_code

    assert 200 == asyncio.run(scenario())


def test_the_openapi_document_omits_the_sidecars_routes() -> None:
    """The OpenAPI document contains the app's own routes only."""

    async def take(_body: bytes) -> None: ...

    app = InboundApp()
    app.add_api_route("/lamp", lambda: None)
    app.subscribe([Subscription("replies", "Lamp", take)], dead_letters=None)

    assert ["/lamp"] == list(app.openapi()["paths"])


def test_an_app_is_ready_once_its_probe_returned() -> None:
    """An app is ready once its probe event has returned through the broker."""

    async def scenario(lamps: Lamps) -> None:
        before = await lamps.ask("/readyz", TOKEN)
        await lamps.daprd.published.wait()
        assert 200 == await lamps.deliver("Probe-lamps")
        after = await lamps.ask("/readyz", TOKEN)

        assert (503, {"missing": ["Probe-lamps did not come back yet"]}) == (before.status_code, before.json())
        assert (200, {"missing": []}) == (after.status_code, after.json())

    play(scenario)


def test_the_probe_is_sent_until_one_returns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app publishes probes, each with its own id, until one returns."""
    monkeypatch.setattr(loopback_probe, "PROBE_SECONDS", 0.001)

    async def run() -> list[dict[str, Any]]:
        async with daprd() as fake:
            fake.refused_publishes = 2
            async with running(fake) as lamps:
                await fake.published.wait()
                fake.published.clear()
                await fake.published.wait()
                await lamps.deliver("Probe-lamps")
                return lamps.probes()

    probes = asyncio.run(run())
    assert 4 <= len(probes) == len({probe["id"] for probe in probes})
    assert [probe["id"] for probe in probes] == [probe["correlationid"] for probe in probes]


def test_no_probe_is_sent_after_one_returned() -> None:
    """Sending ends after a probe has returned."""

    async def scenario() -> list[str]:
        probe = loopback_probe.LoopbackProbe("inbox", "lamps")
        await probe.handle(b"")
        async with daprd() as fake, connect(fake.port, "out-token") as sidecar:
            await probe.send_until_returned(sidecar)
            return [call.path for call in fake.calls]

    assert [] == asyncio.run(scenario())


def test_an_app_is_unhealthy_while_its_store_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unreachable store makes the app unhealthy until its own probe of the store succeeds."""
    monkeypatch.setattr(store_health, "UNREACHABLE_SECONDS", 0.001)

    async def scenario(lamps: Lamps) -> None:
        await lamps.daprd.published.wait()
        lamps.daprd.is_store_unreachable = True
        read = await lamps.ask("/lamp/unreachable", TOKEN)
        unhealthy = await lamps.ask("/healthz")
        ready = await lamps.ask("/readyz", TOKEN)
        lamps.daprd.is_store_unreachable = False
        await until(lambda: lamps.store.is_healthy)
        healthy = await lamps.ask("/healthz")
        calls = len(lamps.daprd.state_calls())
        still_healthy = await lamps.ask("/healthz")

        assert [503, 503, 200, 200] == [each.status_code for each in (read, unhealthy, healthy, still_healthy)]
        assert "the store is unreachable" in ready.json()["missing"]
        assert calls == len(lamps.daprd.state_calls()), "a healthy app does not probe"

    play(scenario)


def test_an_app_whose_store_refuses_writes_accepts_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the store refuses writes, the app answers reads, refuses events and reports the reason.

    Only a successful write ends this state.
    """
    monkeypatch.setattr(store_health, "REFUSED_SECONDS", 0.001)
    output = "the store refuses writes: ERROR: read-only (SQLSTATE 25006)"

    async def scenario(lamps: Lamps) -> None:
        lamps.problem = PermanentError("no such lamp")
        lamps.daprd.refuses_writes = 500
        assert 500 == await lamps.deliver()  # its dead letter cannot be written
        lamps.problem = None

        assert (503, f"{output}\n") == ((unhealthy := await lamps.ask("/healthz")).status_code, unhealthy.text)
        assert output in (await lamps.ask("/readyz", TOKEN)).json()["missing"]
        assert 200 == (await lamps.ask("/lamp/1", TOKEN)).status_code
        assert [500, 500] == [await lamps.deliver(), await lamps.deliver()]
        assert 200 == await lamps.deliver("Probe-lamps"), "probe events do not depend on the store"
        assert 1 == len(lamps.handled)
        lamps.daprd.refuses_writes = 0
        await until(lambda: lamps.store.is_healthy)
        assert (200, 200) == (
            (await lamps.ask("/healthz")).status_code,
            (await lamps.ask("/readyz", TOKEN)).status_code,
        )
        assert 200 == await lamps.deliver()
        assert 2 == len(lamps.handled)

    play(scenario)


def test_an_app_whose_store_refuses_writes_from_the_start_is_not_ready() -> None:
    """The app detects at startup, without an event, that its store refuses writes."""

    async def run() -> None:
        async with daprd() as fake:
            fake.refuses_writes = 409
            async with running(fake) as lamps:
                await until(lambda: lamps.store.write_refusal != "")
                await lamps.deliver("Probe-lamps")
                answer = await lamps.ask("/readyz", TOKEN)
                assert (503, ["the store refuses writes: ERROR: read-only (SQLSTATE 25006)"]) == (
                    answer.status_code,
                    answer.json()["missing"],
                )

    asyncio.run(run())


def test_a_read_of_a_missing_resource_is_404_with_a_body() -> None:
    """A read of a missing resource is answered 404 with an empty JSON object."""

    async def scenario(lamps: Lamps) -> None:
        answer = await lamps.ask("/lamp/2", TOKEN)

        assert (404, {}) == (answer.status_code, answer.json())

    play(scenario)


def test_background_work_ends_with_its_block() -> None:
    """Background work is canceled and awaited when its block ends."""

    async def scenario() -> list[str]:
        seen, started = list[str](), asyncio.Event()

        async def work() -> None:
            started.set()
            try:
                await asyncio.Event().wait()
            finally:
                seen.append("work ends")

        async with background(work()):
            await started.wait()
        return [*seen, "block left"]

    assert ["work ends", "block left"] == asyncio.run(scenario())


def test_background_work_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A failure of background work is logged when it happens."""

    async def scenario() -> None:
        failed = asyncio.Event()

        async def work() -> None:
            failed.set()
            raise ValueError("lamp broke")

        async with background(work()):
            await failed.wait()

    with pytest.raises(ValueError, match="lamp broke"):
        asyncio.run(scenario())

    assert "lamp broke" in caplog.text


def test_the_sidecar_closes_an_idle_connection_before_the_app_does() -> None:
    """The app keeps idle connections longer than Go's transport, which may use one for 90 s."""
    settings = Settings("127.0.0.1", 1, 2, "in-token", "out-token")

    assert server_config(FastAPI(), settings).timeout_keep_alive > 90


def test_the_background_work_of_a_service_ends_with_it() -> None:
    """The background work of a service gets the dead letters and ends with the service."""

    async def scenario() -> list[str]:
        async with daprd() as fake, running(fake) as lamps:
            await asyncio.sleep(0)
        return lamps.background_events

    assert ["DeadLetters", "stopped"] == asyncio.run(scenario())


def test_a_service_publishes_on_every_component_of_its_sidecar(monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks its sidecar for them when it starts."""
    monkeypatch.setattr(loopback_probe, "PROBE_SECONDS", 0.001)

    async def scenario() -> None:
        async with daprd() as fake:
            fake.components = ["pubsub", "pubsub-2"]
            async with running(fake):
                await until(lambda: {"pubsub", "pubsub-2"} == fake.used_components())

    asyncio.run(scenario())
