"""Tests of one order's path, split into contiguous segments."""

from bench.latency_breakdown import COMMAND, SAVE, Segment, Span, segments_of, shares, table

PUBLISH = "call:POST:/v1.0/publish/pubsub/"
MS = 1_000_000
WAY = [
    Span("gateway", "serve:/order/create", 1 * MS, 20 * MS),
    Span("gateway", f"{PUBLISH}OrderCreateRequested", 2 * MS, 4 * MS),
    Span("order", "serve:/events/inbox/OrderCreateRequested", 5 * MS, 16 * MS),
    Span("order", "call:POST:/v1.0/state/statestore", 6 * MS, 9 * MS),
    Span("order", f"{PUBLISH.replace('pubsub', 'pubsub-3')}OrderCreated", 10 * MS, 15 * MS),
    Span("gateway", "serve:/events/replies/OrderCreated", 18 * MS, 19 * MS),
]


def test_the_segments_follow_one_another_and_add_up_to_the_whole() -> None:
    """The segments cover the time from sending the request to its response without gaps."""
    segments = segments_of(WAY, sent=0, answered=21 * MS)

    assert segments["caller to gateway"] == 1
    assert segments["order: save"] == 3
    assert segments["event: publish, broker, deliver"] == 8
    assert sum(segments.values()) == 21


def test_spans_before_the_request_are_ignored() -> None:
    """A span of the order before, by the same app, is ignored."""
    earlier = Span("order", "call:POST:/v1.0/state/statestore", -9 * MS, -5 * MS)

    assert segments_of([earlier, *WAY], 0, 21 * MS) == segments_of(WAY, 0, 21 * MS)


def test_the_sidecars_share_is_the_excess_over_the_brokers_and_the_stores_own_time() -> None:
    """A segment inside an app has no sidecar share."""
    way = segments_of(WAY, 0, 21 * MS)

    segments = {segment.name: segment for segment in shares([way], {COMMAND: 1.0, SAVE: 5.0})}

    assert segments[COMMAND].sidecar_milliseconds == 2
    assert segments[SAVE].sidecar_milliseconds == 0
    assert segments["order: decode, decide"].sidecar_milliseconds == 0


def test_the_table_ends_with_the_sums() -> None:
    """The table of each broker ends with a row of sums."""
    lines = table({"redis": [Segment("a", 1.0, 0.25), Segment("b", 2.0, 0.5)]}).splitlines()

    assert lines[-1] == "| sum | 3.00 | 0.75 |"
