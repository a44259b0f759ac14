"""Spans of one process: what begins one, what is its parent, what it says, and that nothing is done unless wanted."""

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

from chassis import request_context, tracing
from chassis.errors import PermanentError, SidecarUnavailable, TransientError
from chassis.events import CloudEvent
from chassis.inbound import InboundApp, Subscription
from chassis.record import FRESH
from chassis.sidecar import HttpSidecar, connect
from chassis.spans import Spans, context_of
from cli.project import ROOT
from tests.unit.chassis.daprd import Daprd, daprd
from tests.unit.chassis.fakes import FakeSidecar
from tests.unit.chassis.toy_service import AT, coin, processor

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
NOT_SAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-00"
EVENT_ID = "0192f0c1-2a3b-7c4d-8e5f-60718293a4b5"


class RecordedSpans:
    """The spans that ended, by name."""

    def __init__(self, sampler: Sampler | None = None) -> None:
        self._exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.spans = Spans(provider)

    @property
    def names(self) -> list[str]:
        """Of all of them, in the order in which they ended."""
        return [span.name for span in self._exporter.get_finished_spans()]

    def of(self, name: str) -> list[ReadableSpan]:
        """All of a name."""
        return [span for span in self._exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only one of a name."""
        [found] = self.of(name)
        return found


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> RecordedSpans:
    """Somebody looks."""
    made = RecordedSpans()
    monkeypatch.setattr(tracing, "spans", made.spans)
    return made


@pytest.fixture(autouse=True)
def nothing_handled() -> Iterator[None]:
    """A test is about nothing unless it says so."""
    token = request_context._current.set(None)
    yield
    request_context._current.reset(token)


def context(span: ReadableSpan) -> tuple[str, str]:
    """Its trace's id and its own."""
    assert span.context is not None
    return f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}"


def parent(span: ReadableSpan) -> str | None:
    """The id of its parent."""
    return None if span.parent is None else f"{span.parent.span_id:016x}"


def written(traceparent: str) -> tuple[str, str]:
    """The ids in a header or an attribute."""
    _, trace_id, span_id, _ = traceparent.split("-")
    return trace_id, span_id


def an_event(**more: str) -> bytes:
    """A whole CloudEvent."""
    return msgspec.json.encode({"id": EVENT_ID, "type": "Lamp", "data": {"watt": 60, "colour": "<red>"}, **more})


def lamps(work: Callable[[], Awaitable[None]]) -> InboundApp:
    """An app that does something for an event, and for a post."""
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
    """Do it."""


def ask(app: InboundApp, method: str, path: str, body: bytes = b"", **headers: str) -> int:
    """One request."""

    async def send() -> int:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://lamps") as http:
            return (await http.request(method, path, content=body, headers=headers)).status_code

    return asyncio.run(send())


def test_a_post_begins_a_trace_and_goes_on_with_its_callers(recorded: RecordedSpans) -> None:
    """Named by its route; the answer's status is on it."""
    app = lamps(nothing)
    ask(app, "POST", "/lamp")
    span = recorded.one("POST /lamp")

    assert (None, 201) == (parent(span), dict(span.attributes or {})["http.response.status_code"])
    ask(app, "POST", "/lamp", traceparent=TRACEPARENT)
    _, second = recorded.of("POST /lamp")
    assert (TRACE_ID, SPAN_ID) == (context(second)[0], parent(second))


def test_a_read_goes_on_with_a_trace_and_begins_none(recorded: RecordedSpans) -> None:
    """Health probes are asked all the time."""
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
    """Whether a trace is sampled is decided where it begins."""
    assert 200 == ask(lamps(nothing), "POST", "/events/inbox/Lamp", body)
    assert [] == recorded.names


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [(None, "done"), (PermanentError("bad"), "dead_letter"), (TransientError("unreachable"), "again")],
)
def test_an_event_is_a_span_of_its_publishers_trace(
    recorded: RecordedSpans, problem: Exception | None, outcome: str
) -> None:
    """With its topic, its id, and what became of it."""

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


def with_sidecar(scenario: Callable[[HttpSidecar, Daprd], Awaitable[None]]) -> None:
    """With a sidecar that is played."""

    async def play() -> None:
        async with daprd() as played, connect(played.port, "token") as sidecar:
            await scenario(sidecar, played)

    asyncio.run(play())


def published(played: Daprd) -> tuple[dict[str, Any], str | None]:
    """The one event that was published, and the header of its publish."""
    [call] = [call for call in played.calls if "/publish/" in call.path]
    return msgspec.json.decode(call.body), call.traceparent


def test_an_event_that_is_made_carries_what_is_handled(recorded: RecordedSpans) -> None:
    """Both attributes, so that a sidecar leaves them as they are."""
    handled = request_context.start_event("Lamp", an_event(traceparent=TRACEPARENT))
    with recorded.spans.event(handled):
        traceid, traceparent = tracing.attributes()

    assert traceid == TRACE_ID
    assert isinstance(traceparent, str)
    assert context(recorded.one("process Lamp")) == written(traceparent)


def test_what_is_published_for_an_event_is_a_child_of_it(recorded: RecordedSpans) -> None:
    """The event goes out with the context of the publish, and is otherwise as it was."""

    async def scenario(sidecar: HttpSidecar, played: Daprd) -> None:
        handled = request_context.start_event("Lamp", an_event(traceparent=TRACEPARENT))
        with recorded.spans.event(handled):
            await sidecar.publish("Lamp", an_event(traceid=TRACE_ID, traceparent=TRACEPARENT))
        event, header = published(played)
        span = recorded.one("publish Lamp")

        assert header == event["traceparent"]
        assert context(span) == written(event["traceparent"])
        assert context(recorded.one("process Lamp"))[1] == parent(span)
        assert msgspec.json.decode(an_event()) == {
            k: v for k, v in event.items() if k not in ("traceid", "traceparent")
        }

    with_sidecar(scenario)


def test_what_an_outbox_kept_is_published_in_the_trace_it_was_in(recorded: RecordedSpans) -> None:
    """By whoever finds it, for another event: that one is linked to."""
    other = f"00-{TRACE_ID[::-1]}-{SPAN_ID}-01"

    async def scenario(sidecar: HttpSidecar, played: Daprd) -> None:
        with recorded.spans.event(request_context.start_event("Lamp", an_event(traceparent=other))):
            await sidecar.publish("Lamp", an_event(traceid=TRACE_ID, traceparent=TRACEPARENT))
        span = recorded.one("publish Lamp")

        assert (TRACE_ID, SPAN_ID) == (context(span)[0], parent(span))
        assert [context(recorded.one("process Lamp"))] == [
            (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links
        ]
        assert TRACE_ID == published(played)[0]["traceid"]

    with_sidecar(scenario)


def test_a_pending_command_is_published_in_the_trace_of_its_request(recorded: RecordedSpans) -> None:
    """Later, when nothing is handled."""

    async def scenario(sidecar: HttpSidecar, _played: Daprd) -> None:
        await sidecar.publish("Lamp", an_event(traceid=TRACE_ID, traceparent=TRACEPARENT))

        assert SPAN_ID == parent(recorded.one("publish Lamp"))

    with_sidecar(scenario)


@pytest.mark.parametrize("event", [an_event(), an_event(traceparent=NOT_SAMPLED), an_event(traceparent="x")])
def test_an_event_in_no_trace_is_published_byte_for_byte(recorded: RecordedSpans, event: bytes) -> None:
    """Without a header."""

    async def scenario(sidecar: HttpSidecar, played: Daprd) -> None:
        await sidecar.publish("Lamp", event)

        [call] = played.calls
        assert (event, None) == (call.body, call.traceparent)

    with_sidecar(scenario)


def test_calls_are_children_and_a_key_is_told_to_nobody(recorded: RecordedSpans) -> None:
    """A key may be an address: no span has it, and the sidecar, whose span would, is told of no trace."""

    async def scenario(sidecar: HttpSidecar, played: Daprd) -> None:
        with recorded.spans.event(request_context.start_event("Lamp", an_event(traceparent=TRACEPARENT))):
            await sidecar.load("email:ann@example.com")
            await sidecar.invoke("user", "/user/1", 1.0)
        loaded, invoked = played.calls

        assert ["GET state", "invoke user", "process Lamp"] == recorded.names
        assert None is loaded.traceparent
        assert context(recorded.one("invoke user")) == written(str(invoked.traceparent))
        assert {context(recorded.one("process Lamp"))[1]} == {parent(recorded.one(name)) for name in recorded.names[:2]}
        assert {} == dict(recorded.one("GET state").attributes or {})

    with_sidecar(scenario)


def test_a_call_that_fails_is_named_and_not_quoted(recorded: RecordedSpans) -> None:
    """What an error says may hold anything."""
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


def test_what_the_sampler_refuses_leaves_no_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """No span, no attribute."""
    made = RecordedSpans(ALWAYS_OFF)
    monkeypatch.setattr(tracing, "spans", made.spans)
    seen: list[Any] = []

    async def work() -> None:
        seen.append(tracing.attributes())

    assert 201 == ask(lamps(work), "POST", "/lamp")
    assert ([], [(msgspec.UNSET, msgspec.UNSET)]) == (made.names, seen)


@pytest.mark.parametrize(
    "wrong", ["", "x", TRACEPARENT.upper(), f"ff{TRACEPARENT[2:]}", f"{TRACEPARENT}-00", f"{TRACEPARENT}\n"]
)
def test_a_context_is_well_formed_or_none(wrong: str) -> None:
    """Nothing from outside reaches an attribute unchecked."""
    assert None is context_of(wrong)
    assert None is not context_of(TRACEPARENT)


def test_an_event_without_a_trace_is_written_as_ever() -> None:
    """No attribute is added where nobody looks."""
    traceid, traceparent = tracing.attributes()
    event = CloudEvent(
        id="1",
        type="Lamp",
        source="lamps",
        subject="s",
        correlationid="1",
        time="2026-01-01T00:00:00.000Z",
        data=msgspec.Raw(b"{}"),
        traceid=traceid,
        traceparent=traceparent,
    )
    expected = (
        b'{"specversion":"1.0","id":"1","type":"Lamp","source":"lamps","subject":"s","correlationid":"1",'
        b'"time":"2026-01-01T00:00:00.000Z","datacontenttype":"application/json","data":{}}'
    )

    assert expected == msgspec.json.encode(event)


@pytest.mark.parametrize(
    ("environ", "expected"), [({}, "off"), ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, "on")]
)
def test_the_sdk_is_imported_only_where_traces_go_somewhere(environ: dict[str, str], expected: str) -> None:
    """Nobody pays for what nobody asked for; and a receiver that is unreachable holds up no stop."""
    program = (
        "import asyncio, sys, gateway.app, services.notification.app\n"
        "from chassis import tracing\n"
        "async def main():\n"
        "    async with tracing.traced('lamps'):\n"
        "        on = tracing.spans is not None\n"
        "        assert on == any(each.startswith('opentelemetry.sdk') for each in sys.modules)\n"
        "        print('on' if on else 'off')\n"
        "asyncio.run(main())"
    )
    words = [sys.executable, "-c", program]
    done = subprocess.run(words, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert (f"{expected}\n", 0) == (done.stdout, done.returncode), done.stderr


def test_an_outbox_that_another_process_finishes_keeps_its_trace(recorded: RecordedSpans) -> None:
    """The writer died before it published: what it had decided is in its trace, though another event is handled."""
    other = f"00-{TRACE_ID[::-1]}-{SPAN_ID}-01"

    async def scenario() -> FakeSidecar:
        sidecar = FakeSidecar()
        sidecar.refuse[4] = SidecarUnavailable("killed")  # what follows the save
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
