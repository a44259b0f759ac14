"""The context of a request or an event, and that it reports only well-formed ids."""

import asyncio

import pytest

from sidecart.chassis.telemetry import request_context

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
OTHER = f"00-{TRACE_ID[::-1]}-{SPAN_ID}-00"


def test_an_event_has_its_id_and_its_trace() -> None:
    """The id and the trace of an event come from its body."""
    context = request_context.start_event("Lamp", f'{{"id": "e-1", "traceparent": "{TRACEPARENT}"}}'.encode())

    assert ("e-1", TRACEPARENT, TRACE_ID) == (context.event_id, context.traceparent, context.trace_id)
    assert context is request_context.current()


def test_the_header_has_priority_over_the_attribute() -> None:
    """The header names the span of a tracing sidecar; the attribute names the publisher's."""
    context = request_context.start([(b"traceparent", TRACEPARENT.encode())])
    context.body = f'{{"id": "e-1", "traceparent": "{OTHER}"}}'.encode()

    assert TRACEPARENT == context.traceparent


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[" * 10_000,
        b'{"id": 7, "traceparent": {}}',
        b'{"id": "a\\nb", "traceparent": "00-1-2-3"}',
        b'{"id": "' + b"x" * 65 + b'", "traceparent": "00-' + b"0" * 32 + b'-b7ad6b7169203331-01"}',
        f'{{"id": "", "traceparent": "{TRACEPARENT} "}}'.encode(),
    ],
)
def test_malformed_ids_are_not_reported(body: bytes) -> None:
    """Any publisher can send malformed ids; they read as empty strings."""
    context = request_context.start_event("Lamp", body)

    assert ("", "") == (context.event_id, context.traceparent)


def test_a_request_without_a_trace_gets_a_stable_id() -> None:
    """A request without a trace gets one random id for its response and logs; an event has none."""
    request = request_context.start()

    assert request.trace_id == request.trace_id != request_context.start().trace_id
    assert 32 == len(request.trace_id)
    assert "" == request_context.start_event("Lamp", b'{"id": "e-1"}').trace_id


def test_a_request_has_the_event_that_it_leads_to() -> None:
    """A request's context names its event once the command is built."""
    request = request_context.start()
    request.set_event("Lamp", "e-2")

    assert ("Lamp", "e-2") == (request.topic, request.event_id)


def test_concurrent_tasks_have_their_own_contexts() -> None:
    """Concurrent tasks have separate contexts, and a child task inherits its parent's."""

    async def handle(name: str) -> tuple[str, str]:
        request_context.start_event(name, b"")
        await asyncio.sleep(0)

        async def inner() -> str:
            context = request_context.current()
            return "" if context is None else context.topic

        return (await asyncio.gather(inner()))[0], name

    async def both() -> list[tuple[str, str]]:
        return list(await asyncio.gather(handle("Lamp"), handle("Switch")))

    assert all(found == name for found, name in asyncio.run(both()))


def test_a_released_context_holds_no_body() -> None:
    """A released context holds neither body nor headers, because a connection may keep it alive."""
    context = request_context.start_event("Lamp", b"x" * 1_000)
    context.release()

    assert (b"", ()) == (context.body, context.headers)


@pytest.mark.parametrize(
    ("later", "version_00"),
    [
        (f"01-{TRACE_ID}-{SPAN_ID}-01", TRACEPARENT),
        (f"cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-will-be-like", TRACEPARENT),
        (f"01-{TRACE_ID}-{SPAN_ID}-ff-", TRACEPARENT),
        (f"fe-{TRACE_ID}-{SPAN_ID}-02-x", f"{TRACEPARENT[:-2]}00"),
        (f"00-{TRACE_ID}-{SPAN_ID}-03", f"00-{TRACE_ID}-{SPAN_ID}-03"),
        (f"ff-{TRACE_ID}-{SPAN_ID}-01", ""),
        (f"00-{TRACE_ID}-{SPAN_ID}-01-x", ""),
        (f"01-{TRACE_ID}-{SPAN_ID}-01.x", ""),
        (f"01-{TRACE_ID}-{SPAN_ID}-0", ""),
        (f"01-{'0' * 32}-{SPAN_ID}-01", ""),
        (f"01-{TRACE_ID}-{'0' * 16}-01", ""),
        (f"0-{TRACE_ID}-{SPAN_ID}-01", ""),
        (f"0A-{TRACE_ID}-{SPAN_ID}-01", ""),
    ],
)
def test_a_later_version_is_read_by_its_first_four_fields(later: str, version_00: str) -> None:
    """The first four fields of a later version count, as W3C specifies."""
    context = request_context.start([(b"traceparent", later.encode())])

    assert version_00 == context.traceparent
    assert not version_00 or TRACE_ID == context.trace_id


def test_two_headers_are_ignored() -> None:
    """Two traceparent headers are ambiguous: the request is in no incoming trace."""
    assert (
        ""
        == request_context.start([(b"traceparent", TRACEPARENT.encode()), (b"traceparent", OTHER.encode())]).traceparent
    )
