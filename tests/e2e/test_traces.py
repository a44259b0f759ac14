"""Tests of traces: one trace from an order to its mail, through sidecars, broker and a dead letter;
none when off.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Set
from dataclasses import replace

import pytest

from sidecart.launcher.dead_letters import Filter, find_dead_letters
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.running_state import RunningState
from sidecart.testkit.tap import Tap
from tests.e2e.conftest import options
from tests.e2e.otlp import Receiver, Span, as_tree
from tests.e2e.shopper import SECONDS, TEA, TEA_CENTS, Shopper
from tests.e2e.test_mail_server import replaced_mail_server
from tests.replay import replay

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
PATH = [  # of a paid order, from the request to the mail; each is the parent of the next
    ("gateway", "POST /order/create"),
    ("gateway", "publish OrderCreateRequested"),
    ("order", "process OrderCreateRequested"),
    ("order", "publish OrderPaymentRequested"),
    ("billing", "process OrderPaymentRequested"),
    ("billing", "publish OrderPaymentCreated"),
    ("order", "process OrderPaymentCreated"),
    ("order", "publish OrderPaid"),
    ("notification", "process OrderPaid"),
    ("notification", "publish EmailRequested"),
    ("notification", "process EmailRequested"),
    ("notification", "send mail"),
]
SIDE_BRANCH = [
    ("order", "publish OrderCreated"),
    ("gateway", "process OrderCreated"),
    ("notification", "process OrderCreated"),
]
SIDECARS = {"gateway-sidecar", "order-sidecar", "billing-sidecar", "notification-sidecar"}


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    """Start a receiver of spans."""
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def traced_shop(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[System]:
    """Start a shop that traces every request."""
    made = System(replace(options(tmp_path_factory.mktemp("traced")), env={"MAIL_RETRY_SECONDS": "1"}), print)
    try:
        # The suite's other shop may start later, and must not trace.
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{receiver.endpoint}/")
            patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
            made.start()
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def traced_tap(traced_shop: System) -> Iterator[Tap]:
    """Return a tap, which records every event that passes the broker."""
    with Tap(traced_shop) as running:
        yield running


@pytest.fixture
def shopper(traced_shop: System, traced_tap: Tap) -> Iterator[Shopper]:
    """Return a client of the traced shop."""
    with Shopper(traced_shop, traced_tap) as client:
        yield client


def ours(spans: list[Span]) -> dict[str, Span]:
    """Return the spans of the apps, by id."""
    return {span.span_id: span for span in spans if not span.service.endswith("-sidecar")}


def parent_of(span: Span, spans: list[Span]) -> tuple[str, str] | None:
    """Return the nearest parent span of an app, skipping those of sidecars."""
    by_id = {each.span_id: each for each in spans}
    parent = by_id.get(span.parent_id)
    while parent is not None and parent.service.endswith("-sidecar"):
        parent = by_id.get(parent.parent_id)
    return None if parent is None else (parent.service, parent.name)


def has(spans: list[Span], *expected: tuple[str, str]) -> bool:
    """Return whether all of these spans exist."""
    return set(expected) <= {(span.service, span.name) for span in spans}


def orphans(spans: list[Span]) -> list[Span]:
    """Return the spans whose parent is neither known nor the caller's."""
    known = {span.span_id for span in spans} | {CALLER}
    return [span for span in spans if span.parent_id not in known]


def settled(
    receiver: Receiver, trace_id: str, *expected: tuple[str, str], services: Set[str] = frozenset()
) -> list[Span]:
    """Wait for a trace with these spans and services and without orphans; return its spans."""

    def is_complete(spans: list[Span]) -> bool:
        return has(spans, *expected) and services <= {span.service for span in spans} and not orphans(spans)

    return receiver.wait(trace_id, is_complete, SECONDS)


def test_one_trace_from_the_order_to_its_mail(shopper: Shopper, receiver: Receiver) -> None:
    """Each step is the parent of the next, and the mail carries the trace on.

    No span has a token: a sidecar copies the `dapr-` headers of a traced call into its span.
    """
    user = shopper.register()
    shopper.deposit(user["user_id"], TEA_CENTS)
    answer = shopper.order(user["user_id"], traceparent=f"00-{TRACE_ID}-{CALLER}-01")
    assert 201 == answer.status_code
    [mail] = shopper.wait_for_mails(user["email"], 1)

    spans = settled(receiver, TRACE_ID, *PATH, *SIDE_BRANCH, services=SIDECARS)
    print(as_tree(spans))
    by_name = {(span.service, span.name): span for span in spans}
    assert CALLER == by_name[PATH[0]].parent_id
    assert PATH[:-1] == [parent_of(by_name[step], spans) for step in PATH[1:]]
    assert SIDE_BRANCH[:1] * 2 == [parent_of(by_name[step], spans) for step in SIDE_BRANCH[1:]]
    once = Counter((span.service, span.name) for span in ours(spans).values() if not span.name.endswith(" state"))
    assert dict.fromkeys([*PATH, *SIDE_BRANCH], 1).items() <= once.items()
    assert {span.service for span in spans} >= SIDECARS
    sent = by_name["notification", "send mail"]
    assert f"00-{TRACE_ID}-{sent.span_id}-01" == mail["headers"]["traceparent"]
    text = " ".join(f"{span.name} {span.attributes}" for span in receiver.spans)
    secrets = (user["email"], user["name"], "%40", "@", *shopper.shop.tokens.values())
    assert [] == [secret for secret in secrets if secret in text]


def test_a_replayed_dead_letter_continues_its_trace(shopper: Shopper, receiver: Receiver) -> None:
    """The order, its rejected mail and the mail after the replay belong to one trace."""
    trace_id = TRACE_ID[::-1]
    state = RunningState(shopper.shop.ports, shopper.shop.tokens)
    user = shopper.register()
    shopper.deposit(user["user_id"], TEA_CENTS)
    with replaced_mail_server(shopper.shop, ("--to-recipient", "550 5.1.1 no such user")):
        body = {"user_id": user["user_id"], "items": [TEA]}
        shopper.http.post("/order/create", json=body, headers={"traceparent": f"00-{trace_id}-{CALLER}-01"})
        selection = Filter(service="notification", topic="EmailRequested", reason=user["email"])
        shopper.until(lambda: len(list(find_dead_letters(state, selection))) == 1, "the dead letter")
    [letter] = find_dead_letters(state, selection)
    before = settled(receiver, trace_id, *PATH)

    assert "replayed" == replay(state, letter)
    [mail] = shopper.wait_for_mails(user["email"], 1)
    after = receiver.wait(trace_id, lambda spans: len(sends(spans)) == 2 and not orphans(spans), SECONDS)

    assert 1 == len(sends(before))
    assert {trace_id} == {letter.traceparent.split("-")[1]}
    handled = [span for span in after if span.name == "process EmailRequested"]
    assert ["dead_letter", "done"] == sorted(span.attributes["sidecart.outcome"] for span in handled)
    assert {("notification", "publish EmailRequested")} == {parent_of(span, after) for span in handled}
    assert trace_id == mail["headers"]["traceparent"].split("-")[1]


def test_a_retried_mail_stays_in_its_trace(shopper: Shopper, receiver: Receiver) -> None:
    """Each attempt is a span, and the last one sends the mail."""
    trace_id = "ef" * 16
    user = shopper.register()
    shopper.deposit(user["user_id"], TEA_CENTS)
    with replaced_mail_server(shopper.shop, ("--to-recipient", "451 4.7.1 come back later")):
        shopper.order(user["user_id"], traceparent=f"00-{trace_id}-{CALLER}-01")
        receiver.wait(trace_id, lambda spans: len(sends(spans)) >= 2, SECONDS)
    [mail] = shopper.wait_for_mails(user["email"], 1)
    last = mail["headers"]["traceparent"].split("-")[2]
    spans = receiver.wait(
        trace_id, lambda spans: last in {each.span_id for each in spans} and not orphans(spans), SECONDS
    )

    tries = [parent_of(span, spans) for span in sends(spans)]
    assert {("notification", "process EmailRequested")} == set(tries)
    assert 3 <= len(tries)


def sends(spans: list[Span]) -> list[Span]:
    """Return the attempts to send a mail."""
    return [span for span in spans if span.name == "send mail"]


def test_a_request_without_a_trace_starts_one(shopper: Shopper, receiver: Receiver) -> None:
    """The events of the request carry the new trace."""
    user = shopper.register()
    trace_id = shopper.event("UserCreated", user["user_id"])["traceid"]
    first, later = ("gateway", "POST /user/register"), ("billing", "process UserCreated")
    spans = receiver.wait(trace_id, lambda found: has(found, first, later), SECONDS)

    assert [""] == [span.parent_id for span in spans if (span.service, span.name) == first]


def test_an_unsampled_request_leaves_no_span(shopper: Shopper, receiver: Receiver) -> None:
    """The receiver has no span of the unsampled order after all spans of a later order have
    arrived.
    """
    user, trace_ids = shopper.register(), ("ab" * 16, "cd" * 16)
    shopper.deposit(user["user_id"], 2 * TEA_CENTS)
    for trace_id, flags in zip(trace_ids, ("00", "01"), strict=True):
        answer = shopper.order(user["user_id"], traceparent=f"00-{trace_id}-{CALLER}-{flags}")
        assert "OrderPaid" == shopper.final(answer.json()["order_id"])
        shopper.wait_for_mails(user["email"], 1 if flags == "00" else 2)
    settled(receiver, trace_ids[1], *PATH)

    assert [] == receiver.trace(trace_ids[0])


def test_without_tracing_events_and_mails_have_no_trace(tap: Tap, shop: System) -> None:
    """In the suite's shop, without tracing, events and mails carry no trace attributes."""
    with Shopper(shop, tap) as client:
        user = client.register()
        client.deposit(user["user_id"], TEA_CENTS)
        order = client.order(user["user_id"], traceparent=f"00-{TRACE_ID}-{CALLER}-01").json()
        assert "OrderPaid" == client.final(order["order_id"])
        [mail] = client.wait_for_mails(user["email"], 1)
        events = [
            one.event for one in client.tap.seen if one.event.get("subject") in (user["user_id"], order["order_id"])
        ]

    assert events
    assert {("", "", "")} == {
        tuple(each.get(name, "") for name in ("traceid", "traceparent", "tracestate")) for each in events
    }
    assert "traceparent" not in mail["headers"]
