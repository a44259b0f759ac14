"""What is known of a request or an event while it is handled, and that only what is well-formed is spoken of."""

import asyncio

import pytest

from chassis import request_context

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE_ID}-{SPAN_ID}-01"
OTHER = f"00-{TRACE_ID[::-1]}-{SPAN_ID}-00"


def test_an_event_says_its_id_and_its_trace() -> None:
    """Both are in its body."""
    context = request_context.start_event("Lamp", f'{{"id": "e-1", "traceparent": "{TRACEPARENT}"}}'.encode())

    assert ("e-1", TRACEPARENT, TRACE_ID) == (context.event_id, context.traceparent, context.trace_id)
    assert context is request_context.current()


def test_the_header_goes_before_the_attribute() -> None:
    """A sidecar that traces tells its own span, the event that of whoever published it."""
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
def test_what_is_not_well_formed_is_not_spoken_of(body: bytes) -> None:
    """Whoever can publish writes these."""
    context = request_context.start_event("Lamp", body)

    assert ("", "") == (context.event_id, context.traceparent)


def test_a_request_without_a_trace_gets_an_id_that_stays() -> None:
    """Its answer and each of its lines say the same; an event without one has none."""
    request = request_context.start()

    assert request.trace_id == request.trace_id != request_context.start().trace_id
    assert 32 == len(request.trace_id)
    assert "" == request_context.start_event("Lamp", b'{"id": "e-1"}').trace_id


def test_a_request_is_about_the_event_that_it_leads_to() -> None:
    """Known once the command is made."""
    request = request_context.start()
    request.set_event("Lamp", "e-2")

    assert ("Lamp", "e-2") == (request.topic, request.event_id)


def test_tasks_beside_each_other_are_about_their_own() -> None:
    """And what a task starts is about the same as it is."""

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


def test_what_is_forgotten_holds_no_body() -> None:
    """A connection that was opened meanwhile keeps the context of its first request for as long as it lives."""
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
    """As W3C specifies; what goes on is of version 00."""
    context = request_context.start([(b"traceparent", later.encode())])

    assert version_00 == context.traceparent
    assert not version_00 or TRACE_ID == context.trace_id


def test_of_two_headers_none_is_believed() -> None:
    """The trace starts anew."""
    assert (
        ""
        == request_context.start([(b"traceparent", TRACEPARENT.encode()), (b"traceparent", OTHER.encode())]).traceparent
    )
