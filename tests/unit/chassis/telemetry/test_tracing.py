"""Spans of one process: when they begin, their parents and their attributes."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, Sampler
from starlette.requests import Request
from starlette.responses import Response

from sidecart.chassis.deferral import FRESH
from sidecart.chassis.errors import PermanentError, SidecarUnavailable, TransientError
from sidecart.chassis.events import CloudEvent
from sidecart.chassis.server.inbound import InboundApp, Subscription
from sidecart.chassis.sidecar import Sidecar, connect
from sidecart.chassis.telemetry import request_context, tracing
from sidecart.chassis.telemetry.spans import Spans, context_of
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.project import root
from tests.unit.chassis.daprd import Daprd, daprd
from tests.unit.chassis.fakes import FakeSidecar
from tests.unit.chassis.toy_service import AT, coin, processor

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
NOT_SAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-00"
EVENT_ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"


class RecordedSpans:
    """The finished spans of a test, by name."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.spans = Spans(provider)

    @property
    def names(self) -> list[str]:
        """Return the names of all finished spans, in the order in which they ended."""
        return [span.name for span in self._exporter.get_finished_spans()]

    def of(self, name: str) -> list[ReadableSpan]:
        """Return all finished spans with this name."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the only finished span with this name."""
        [found] = self.of(name)
        return found


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordedSpans:
    """Turn tracing on and record its spans."""
    made = RecordedSpans()
    monkeypatch.setattr(tracing, "spans", made.spans)
    return made


@pytest.fixture(autouse=True)
def no_context() -> Iterator[None]:
    """Run the test without a current request context."""
    token = request_context._current.set(None)
    yield
    request_context._current.reset(token)


def context(span: ReadableSpan) -> tuple[str, str]:
    """Return the ids of the span's trace and of the span."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def parent(span: ReadableSpan) -> str | None:
    """Return the id of the parent span, or None."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def written(traceparent: str) -> tuple[str, str]:
    """Return the ids in a traceparent."""
    _, trace_id, span_id, _ = traceparent.split("-")
    return trace_id, span_id


def an_event(**more: str) -> bytes:
    """Return a complete CloudEvent."""
    return msgspec.json.encode({"id": EVENT_ID, "type": "Lamp", "data": {"watt": 60, "color": "<red>"}, **more})


def lamps(work: Callable[[], Awaitable[None]]) -> InboundApp:
    """Return an app that runs `work` for each event and each POST."""
    app = InboundApp()

    async def take(_body: bytes) -> None:
        await work()

    async def post(_request: Request) -> Response:
        await work()
        return Response(status_code=201)

    @app.get("/lamp/{id}")
    async def lamp(id: str) -> Response:
        return Response(status_code=503)

    app.answer_directly("/lamp", post)
    app.subscribe([Subscription("inbox", "Lamp", take)], dead_letters=None)
    return app


async def nothing() -> None:
    """Do nothing."""


def ask(app: InboundApp, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    """Send one request and return the status."""

    async def send() -> int:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lamps") as http:
            return (await http.request(method, path, content=body, headers=headers)).status_code

    return asyncio.run(send())


def test_a_post_begins_a_trace_or_joins_its_callers(recorded: RecordedSpans) -> None:
    """A POST begins a trace, or its caller's context becomes its parent."""
    app = lamps(nothing)
    ask(app, "POST", "/lamp")
    span = recorded.one("POST /lamp")

    assert (None, 201) == (parent(span), dict(span.attributes or {})["http.response.status_code"])
    ask(app, "POST", "/lamp", traceparent=TRACEPARENT)
    _, second = recorded.of("POST /lamp")
    assert (TRACE_ID, SPAN_ID) == (context(second)[0], parent(second))


def test_a_read_joins_a_trace_and_begins_none(recorded: RecordedSpans) -> None:
    """A GET joins a caller's trace, but begins none, because health probes are frequent."""
    app = lamps(nothing)
    ask(app, "GET", "/lamp/1")
    assert [] == recorded.names

    ask(app, "GET", "/lamp/1", traceparent=TRACEPARENT)
    span = recorded.one("GET /lamp/{id}")
    assert (SPAN_ID, 503, False) == (
        parent(span),
        dict(span.attributes or {})["http.response.status_code"],
        span.status.is_ok,
    )


@pytest.mark.parametrize("body", [an_event(), an_event(traceparent=NOT_SAMPLED), an_event(traceparent="00-x"), b"\xff"])
def test_an_event_in_no_sampled_trace_makes_no_span(recorded: RecordedSpans, body: bytes) -> None:
    """An event without a sampled context creates no span."""
    assert 200 == ask(lamps(nothing), "POST", "/events/inbox/Lamp", body)
    assert [] == recorded.names


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [(None, "done"), (PermanentError("bad"), "dead_letter"), (TransientError("unreachable"), "again")],
)
def test_an_event_is_a_span_of_its_publishers_trace(
    recorded: RecordedSpans, problem: Exception | None, outcome: str
) -> None:
    """An event's span has the publisher's context as parent, and names topic, id and outcome."""

    async def work() -> None:
        if problem is not None:
            raise problem

    ask(lamps(work), "POST", "/events/inbox/Lamp", an_event(traceparent=TRACEPARENT))
    span = recorded.one("process Lamp")

    assert ((TRACE_ID), SPAN_ID) == (context(span)[0], parent(span))
    output = dict(span.attributes or {})
    assert ("Lamp", EVENT_ID, outcome) == (
        output["messaging.destination.name"],
        output["messaging.message.id"],
        output["sidecart.outcome"],
    )


def with_sidecar(scenario: Callable[[Sidecar, Daprd], Awaitable[None]]) -> None:
    """Run a scenario against a fake daprd."""

    async def play() -> None:
        async with daprd() as fake, connect(fake.port, "token") as sidecar:
            await scenario(sidecar, fake)

    asyncio.run(play())


def published(fake: Daprd) -> tuple[dict[str, Any], str | None]:
    """Return the one published event and the traceparent header of its publish."""
    [call] = [call for call in fake.calls if "/publish/" in call.path]
    return msgspec.json.decode(call.body), call.traceparent


def test_a_new_event_carries_the_current_context(recorded: RecordedSpans) -> None:
    """A new event gets both attributes, so that a sidecar does not overwrite them."""
    handled = request_context.start_event("Lamp", an_event(traceparent=TRACEPARENT))
    with recorded.spans.event(handled):
        attributes = recorded.spans.attributes()

    assert ["traceid", "traceparent"] == list(attributes)
    assert attributes["traceid"] == TRACE_ID
    assert context(recorded.one("process Lamp")) == written(attributes["traceparent"])


def test_a_publish_is_a_child_of_the_event_that_caused_it(recorded: RecordedSpans) -> None:
    """The published event carries the context of the publish, and is otherwise unchanged."""

    async def scenario(sidecar: Sidecar, fake: Daprd) -> None:
        handled = request_context.start_event("Lamp", an_event(traceparent=TRACEPARENT))
        with recorded.spans.event(handled):
            await sidecar.publish("Lamp", an_event(traceid=TRACE_ID, traceparent=TRACEPARENT))
        event, header = published(fake)
        span = recorded.one("publish Lamp")

        assert header == event["traceparent"]
        assert context(span) == written(event["traceparent"])
        assert context(recorded.one("process Lamp"))[1] == parent(span)
        assert msgspec.json.decode(an_event()) == {
            k: v for k, v in event.items() if k not in ("traceid", "traceparent")
        }

    with_sidecar(scenario)


def test_an_event_of_an_outbox_is_published_in_its_own_trace(recorded: RecordedSpans) -> None:
    """An older event that is published while another is processed only links to the other."""
    other = f"00-{TRACE_ID[::-1]}-{SPAN_ID}-01"

    async def scenario(sidecar: Sidecar, fake: Daprd) -> None:
        with recorded.spans.event(request_context.start_event("Lamp", an_event(traceparent=other))):
            await sidecar.publish("Lamp", an_event(traceid=TRACE_ID, traceparent=TRACEPARENT))
        span = recorded.one("publish Lamp")

        assert (TRACE_ID, SPAN_ID) == (context(span)[0], parent(span))
        assert [context(recorded.one("process Lamp"))] == [
            (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links
        ]
        assert TRACE_ID == published(fake)[0]["traceid"]

    with_sidecar(scenario)


def test_a_pending_command_is_published_in_the_trace_of_its_request(recorded: RecordedSpans) -> None:
    """A publish outside any context stays in the trace of the event."""

    async def scenario(sidecar: Sidecar, _played: Daprd) -> None:
        await sidecar.publish("Lamp", an_event(traceid=TRACE_ID, traceparent=TRACEPARENT))

        assert SPAN_ID == parent(recorded.one("publish Lamp"))

    with_sidecar(scenario)


@pytest.mark.parametrize("event", [an_event(), an_event(traceparent=NOT_SAMPLED), an_event(traceparent="x")])
def test_an_event_in_no_trace_is_published_byte_for_byte(recorded: RecordedSpans, event: bytes) -> None:
    """An event without a sampled context is published unchanged, without a traceparent header."""

    async def scenario(sidecar: Sidecar, fake: Daprd) -> None:
        await sidecar.publish("Lamp", event)

        [call] = fake.calls
        assert (event, None) == (call.body, call.traceparent)

    with_sidecar(scenario)


def test_calls_are_children_and_no_span_contains_a_key(recorded: RecordedSpans) -> None:
    """Calls are child spans, and no span contains a key, which may be an email address.

    A state call carries no traceparent, because the sidecar's span would contain the key.
    """

    async def scenario(sidecar: Sidecar, fake: Daprd) -> None:
        with recorded.spans.event(request_context.start_event("Lamp", an_event(traceparent=TRACEPARENT))):
            await sidecar.load("email:ann@example.com")
            await sidecar.invoke("user", "/user/1", 1.0)
        loaded, invoked = fake.calls

        assert ["GET state", "invoke user", "process Lamp"] == recorded.names
        assert None is loaded.traceparent
        assert context(recorded.one("invoke user")) == written(str(invoked.traceparent))
        assert {context(recorded.one("process Lamp"))[1]} == {parent(recorded.one(name)) for name in recorded.names[:2]}
        assert {} == dict(recorded.one("GET state").attributes or {})

    with_sidecar(scenario)


def test_a_failed_call_is_recorded_by_type_only(recorded: RecordedSpans) -> None:
    """A failed call's span has the exception's type, not its message, which may hold any data."""
    handled = request_context.start_event("Lamp", an_event(traceparent=TRACEPARENT))
    with pytest.raises(TransientError), recorded.spans.event(handled), recorded.spans.call("send"):
        raise TransientError("to ann@example.com")
    span = recorded.one("send")

    assert (False, None, "TransientError") == (
        span.status.is_ok,
        span.status.description,
        (span.attributes or {})["error.type"],
    )
    assert () == tuple(span.events)


def test_an_unsampled_request_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    """An unsampled request creates no span, and its events get no attributes."""
    made = RecordedSpans(ALWAYS_OFF)
    monkeypatch.setattr(tracing, "spans", made.spans)
    seen: list[Any] = []

    async def work() -> None:
        seen.append(made.spans.attributes())

    assert 201 == ask(lamps(work), "POST", "/lamp")
    assert ([], [{}]) == (made.names, seen)


@pytest.mark.parametrize(
    "wrong", ["", "x", TRACEPARENT.upper(), f"ff{TRACEPARENT[2:]}", f"{TRACEPARENT}-00", f"{TRACEPARENT}\n"]
)
def test_a_context_is_well_formed_or_none(wrong: str) -> None:
    """A malformed traceparent yields no context, so that unchecked input reaches no attribute."""
    assert None is context_of(wrong)
    assert None is not context_of(TRACEPARENT)


def test_an_event_without_a_trace_has_no_trace_attributes() -> None:
    """Without tracing, the encoded event contains no trace attributes."""
    event = CloudEvent(
        id="1",
        type="Lamp",
        source="lamps",
        subject="s",
        correlationid="1",
        time="2026-01-01T00:00:00.000Z",
        data=msgspec.Raw(b"{}"),
    )
    expected = (
        b'{"specversion":"1.0","id":"1","type":"Lamp","source":"lamps","subject":"s","correlationid":"1",'
        b'"time":"2026-01-01T00:00:00.000Z","datacontenttype":"application/json","data":{}}'
    )

    assert expected == msgspec.json.encode(event)


@pytest.mark.parametrize(
    ("environ", "expected"), [({}, "off"), ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, "on")]
)
def test_the_sdk_is_imported_only_with_an_endpoint(environ: dict[str, str], expected: str) -> None:
    """The OpenTelemetry SDK is imported only with an endpoint.

    An unreachable endpoint does not delay the exit of the process. redis-py imports the SDK, too,
    but the image of the apps lacks it: only the baseline of the benchmark needs it.
    """
    program = (
        "import sys; sys.modules['redis'] = None\n"
        "import asyncio, gateway.app, services.notification.app\n"
        "from sidecart.chassis.telemetry import tracing\n"
        "async def main():\n"
        "    async with tracing.traced('lamps'):\n"
        "        on = tracing.spans is not None\n"
        "        assert on == any(each.startswith('opentelemetry.sdk') for each in sys.modules)\n"
        "        print('on' if on else 'off')\n"
        "asyncio.run(main())"
    )
    command = [sys.executable, "-c", program]
    env = {**plain_environment(), **environ}
    done = subprocess.run(command, cwd=root(), env=env, capture_output=True, text=True, timeout=60, check=False)

    assert (f"{expected}\n", 0) == (done.stdout, done.returncode), done.stderr


def test_an_outbox_that_another_process_finishes_keeps_its_trace(recorded: RecordedSpans) -> None:
    """The outputs of a dead writer stay in their trace when another process publishes them."""
    other = f"00-{TRACE_ID[::-1]}-{SPAN_ID}-01"

    async def scenario() -> FakeSidecar:
        sidecar = FakeSidecar()
        sidecar.refuse[4] = SidecarUnavailable("killed")  # the first call after the save
        with (
            pytest.raises(SidecarUnavailable),
            recorded.spans.event(request_context.start_event("CoinPut", an_event(traceparent=TRACEPARENT))),
        ):
            await processor(sidecar).process("CoinPut", coin("c-1"))
        with recorded.spans.event(request_context.start_event("CoinPut", an_event(traceparent=other))):
            await processor(sidecar, "another", AT + FRESH).process("CoinPut", coin("c-2"))
        return sidecar

    published = [event for _, event in asyncio.run(scenario()).published]
    first, second = recorded.of("process CoinPut")

    assert [context(first), context(first), context(second), context(second)] == [
        written(event["traceparent"]) for event in published
    ]
    assert [TRACE_ID, TRACE_ID, TRACE_ID[::-1], TRACE_ID[::-1]] == [event["traceid"] for event in published]
