"""Tests of messages that are not events: each is one dead letter per reading service, and delays no
order.
"""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pika
import pytest
import valkey

from sidecart.launcher.dead_letters import Filter, find_dead_letters
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.running_state import RunningState
from sidecart.launcher.topic_scopes import publisher_of
from sidecart.launcher.topics import GATEWAY, app_ids, read_topics
from sidecart.launcher.topology import metrics_of, sidecar_of
from tests.contracts.validate import examples
from tests.e2e.replicas import restart_pair
from tests.e2e.shopper import TEA_CENTS, Shopper, new_address
from tests.replay import replay

pytestmark = pytest.mark.sidecars

READERS = [(app_id, topic) for topic, way in read_topics().items() for app_id in way.consumers if app_id != GATEWAY]
READ = sorted({topic for _, topic in READERS})
FLOOD = 40
"""More than a sidecar's limit of concurrent events (components/brokers)."""
ORDER_SECONDS_MAX = 10.0
"""The limit for an order behind the messages: it takes milliseconds, and 20 s or more if it is
delayed.
"""
KIB = 1024


def unparseable(stamp: str) -> list[bytes]:
    """Return bodies that are not JSON objects, or almost; the stamp makes most of them unique."""
    mark = stamp.encode()
    return [
        b"hello " + mark,
        b"\xff\xfe" + mark,
        b'{"id": "\xed\xa0\x80", "x": "' + mark + b'"}',
        b"\x00\x1b[2J" + mark,
        b'["' + mark + b'"]',
        b'"' + mark + b'"',
        b'{"cut": "' + mark,
        b'{"x": NaN, "y": "' + mark + b'"}',
        b"[" * 20_000 + mark,
        b'{"id": 7, "type": {}, "x": "' + mark + b'"}',
        b"",
        b"null",
        b"7",
    ]


def put(shop: System, topic: str, body: bytes) -> None:
    """Publish bytes unchanged through the publisher's sidecar, as its app could."""
    sidecar = sidecar_of(str(publisher_of(topic)))
    url = f"http://127.0.0.1:{shop.ports[sidecar]}/v1.0/publish/pubsub/{topic}?metadata.rawPayload=true"
    headers = {"dapr-api-token": shop.tokens[sidecar], "content-type": "text/plain"}
    httpx.post(url, content=body, headers=headers, trust_env=False).raise_for_status()


def put_at_the_broker(shop: System, topic: str, body: bytes) -> None:
    """Publish a message directly at the broker, with properties that no sidecar of ours would
    write.
    """
    if shop.options.broker == "redis":
        with valkey.Valkey.from_url(f"redis://{shop.broker_address}") as client:
            client.xadd(topic, {"data": body, "metadata": "no JSON"})
        return
    headers: Any = {"x-odd": [1, {"a": None}], "traceparent": 7}
    properties = pika.BasicProperties("application/octet-stream", "gzip", headers, 1, 9, "x", "y", "600000", "id")
    connection = pika.BlockingConnection(pika.URLParameters(shop.broker_address))
    connection.channel().basic_publish(topic, "", body, properties)
    connection.close()


def state_of(shopper: Shopper) -> RunningState:
    """Return the access to dead letters that the command uses."""
    return RunningState(shopper.shop.ports, shopper.shop.tokens)


def ids_of(shopper: Shopper, app_id: str) -> list[str]:
    """Return the ids of all letters of a service."""
    return [each.id for each in find_dead_letters(state_of(shopper), Filter(service=app_id, settled=True))]


def letter_id(topic: str, body: bytes) -> str:
    """Return the letter id that WIRE.md defines for a message without an id."""
    namespace = uuid.UUID("5f0c6f8e-62a4-5a36-9c6b-6f1f3d0a2f11")
    return str(uuid.uuid5(namespace, topic + base64.b64encode(body).decode()))


def stored(letter: dict[str, str]) -> bytes:
    """Return the bytes that a letter holds."""
    return base64.b64decode(letter["event_base64"]) if "event_base64" in letter else letter["event"].encode()


def wait_for_letter(shopper: Shopper, app_id: str, letter: str) -> dict[str, str]:
    """Wait for a letter; return it."""
    key = f"dead:{letter}"
    shopper.until(lambda: shopper.state(app_id, key).status_code == 200, f"the dead letter {letter} of {app_id}")
    return dict(shopper.state(app_id, key).json())


@pytest.fixture(scope="module")
def sent() -> dict[str, list[bytes]]:
    """Return the messages of `test_each_is_one_letter_of_each_service`, by topic."""
    return {topic: unparseable(uuid.uuid4().hex) for topic in READ}


@pytest.fixture
def all_processes_survive(shopper: Shopper) -> Iterator[None]:
    """Check that no process of the shop has ended during the test."""
    yield
    assert {} == shopper.shop.dead


@pytest.mark.attack("events", "messages that are no events", "event parser")
@pytest.mark.usefixtures("all_processes_survive")
def test_each_is_one_letter_of_each_service(shopper: Shopper, sent: dict[str, list[bytes]]) -> None:
    """Each message, sent twice, is one letter with its exact bytes and a reason; it cannot be
    replayed.
    """
    for _ in range(2):
        for topic, bodies in sent.items():
            for body in bodies:
                put(shopper.shop, topic, body)
    order_promptly(shopper)

    for app_id, topic in READERS:
        for body in sent[topic]:
            letter = wait_for_letter(shopper, app_id, letter_id(topic, body))
            assert (topic, body, True) == (letter["topic"], stored(letter), bool(letter["reason"]))
    for app_id in {app_id for app_id, _ in READERS}:
        every = ids_of(shopper, app_id)
        assert len(every) == len(set(every))
        expected = {letter_id(topic, body) for each, topic in READERS if each == app_id for body in sent[topic]}
        assert expected <= set(every)
    for one in find_dead_letters(state_of(shopper), Filter(service="order")):
        if one.id in {letter_id(one.topic, body) for body in sent[one.topic]}:
            with pytest.raises(LaunchError, match="you can only discard it"):
                replay(state_of(shopper), one)
    marks = [bodies[0].removeprefix(b"hello ").decode() for bodies in sent.values()]
    written = {path.name: path.read_text(errors="replace") for path in shopper.shop.logs.glob("*.log")}
    assert [] == [name for name, text in written.items() for mark in marks if mark in text]


def order_promptly(shopper: Shopper) -> None:
    """Register, deposit and order, all within ORDER_SECONDS_MAX."""
    user_id = shopper.register()["user_id"]
    shopper.deposit(user_id, 10_000)
    started = time.monotonic()
    answer = shopper.order(user_id)
    assert 201 == answer.status_code, answer.text
    assert "OrderPaid" == shopper.final(answer.json()["order_id"])
    assert time.monotonic() - started < ORDER_SECONDS_MAX


@pytest.mark.attack("events", "a flood of messages that are no events", "event parser")
@pytest.mark.usefixtures("all_processes_survive")
def test_many_of_them_stop_no_topic_before_or_after_a_restart(shopper: Shopper) -> None:
    """More messages than the sidecar's limit are all kept as letters, and the next process gets
    none of them.
    """
    bodies = [f"hello {uuid.uuid4()}".encode() for _ in range(FLOOD)]
    for body in bodies:
        put(shopper.shop, "OrderCreateRequested", body)
    order_promptly(shopper)
    for body in bodies:
        wait_for_letter(shopper, "order", letter_id("OrderCreateRequested", body))

    restart_pair(shopper.shop, "order")
    shopper.shop.wait_ready("order")
    shopper.until_prompt()
    assert 1 == ids_of(shopper, "order").count(letter_id("OrderCreateRequested", bodies[0]))


@pytest.mark.attack("events", "a message written straight to the broker", "event parser")
@pytest.mark.usefixtures("all_processes_survive")
def test_a_message_from_outside_the_sidecars_is_a_letter(shopper: Shopper) -> None:
    """Unknown headers, priority, encoding or metadata do not prevent a letter."""
    body = f"straight {uuid.uuid4()}".encode()
    for topic in READ:
        put_at_the_broker(shopper.shop, topic, body)

    for app_id, topic in READERS:
        assert body == stored(wait_for_letter(shopper, app_id, letter_id(topic, body)))
    order_promptly(shopper)


@pytest.mark.usefixtures("all_processes_survive")
def test_an_entry_without_data_is_an_empty_letter(shopper: Shopper) -> None:
    """A stream entry without the field for the data has no message, and still leaves a letter."""
    if shopper.shop.options.broker == "redis":
        with valkey.Valkey.from_url(f"redis://{shopper.shop.broker_address}") as client:
            client.xadd("AccountDepositRequested", {"payload": "hello"})
    else:
        put_at_the_broker(shopper.shop, "AccountDepositRequested", b"")

    letter = wait_for_letter(shopper, "billing", letter_id("AccountDepositRequested", b""))
    assert b"" == stored(letter)


TRACE = f"00-{uuid.uuid4().hex}-{uuid.uuid4().hex[:16]}-01"
ODD: list[dict[str, Any]] = [
    {"traceid": 7},
    {"traceparent": {"a": [1]}, "traceid": "00-x"},
    {"traceparent": 1.5, "tracestate": ["x"]},
    {"traceid": "x" * 300 * KIB},
    {"traceid": "\x00\x1b[2J\r\nx-injected: 1", "traceparent": f"{TRACE}\r\nx-injected: 1"},
    {"traceparent": f"cc{TRACE[2:]}-\r\nx-injected: 1", "tracestate": "a=\x00\r\nb"},
    {"x\r\nx-injected": "1", "": "\x7f", "\u202e": [[[{}]]], "datacontenttype": "text/x\r\nx-injected: 1"},
    {"expiration": "2001-01-01T00:00:00Z"},
    {"expiration": 7, "time": False, "subject": "", "specversion": "1.0"},
    {"topic": 7, "pubsubname": [], "data_base64": "aGVsbG8="},
]


@pytest.mark.attack("events", "a poisonous traceid or other attribute", "event parser")
@pytest.mark.usefixtures("all_processes_survive")
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(", ".join(odd)))
@pytest.mark.parametrize("way", ["as it is", "as an event", "at the broker"])
def test_an_event_with_odd_attributes_is_an_event(shopper: Shopper, odd: dict[str, Any], way: str) -> None:
    """Attributes that the service does not read are ignored, whatever their type, and no sidecar
    ends.
    """
    user_id, email = str(uuid.uuid4()), new_address()
    event = {**next(iter(examples("UserCreateRequested").values())), "subject": user_id, "madeby": "a test"}
    event |= {"id": str(uuid.uuid4()), "correlationid": str(uuid.uuid4())} | odd
    event |= {"data": {"user_id": user_id, "email": email, "name": "Ann"}, "type": "UserCreateRequested"}
    if way == "at the broker":
        put_at_the_broker(shopper.shop, "UserCreateRequested", json.dumps(event).encode())
    elif way == "as it is":
        put(shopper.shop, "UserCreateRequested", json.dumps(event).encode())
    else:
        assert 204 == shopper.tap.publish("UserCreateRequested", json.dumps(event).encode())

    assert email == shopper.event("UserCreated", user_id)["data"]["email"]
    assert 204 == shopper.state("user", f"dead:{event['id']}").status_code
    shopper.event("BillingAccountCreated", user_id)


@pytest.mark.attack("events", "an attribute that adds a header to a mail", "event parser")
@pytest.mark.usefixtures("all_processes_survive")
@pytest.mark.parametrize("odd", ODD, ids=lambda odd: ascii(", ".join(odd)))
def test_odd_attributes_reach_no_header_of_a_mail(shopper: Shopper, odd: dict[str, Any]) -> None:
    """An event for a mail, written straight to the broker: the mail has the usual headers only."""
    user = shopper.register()
    shopper.deposit(user["user_id"], TEA_CENTS)
    order_id = shopper.order(user["user_id"]).json()["order_id"]
    (first,) = shopper.wait_for_mails(user["email"], 1)
    paid = shopper.event("OrderPaid", order_id)
    data = paid["data"] | {"order_id": str(uuid.uuid4())}
    event = paid | {"id": str(uuid.uuid4()), "subject": data["order_id"], "madeby": "a test", "data": data} | odd
    put_at_the_broker(shopper.shop, "OrderPaid", json.dumps(event | {"type": "OrderPaid", "source": "order"}).encode())

    second = next(mail for mail in shopper.wait_for_mails(user["email"], 2) if mail["text"] != first["text"])
    assert "x-injected" not in json.dumps(second)
    shopper.until(lambda: bool(sent_at(shopper, data["order_id"])), "the record of the mail")


def sent_at(shopper: Shopper, order_id: str) -> str | None:
    """Return when the mail about an order was sent."""
    record = shopper.state("notification", f"notification:{order_id}")
    return str(record.json()["sent_at"] or "") if record.status_code == 200 else None


@pytest.mark.attack("events", "an event of a foreign source", "source of an event")
@pytest.mark.usefixtures("all_processes_survive")
@pytest.mark.parametrize(("app_id", "topic"), READERS)
def test_an_event_of_another_source_is_one_letter(shopper: Shopper, app_id: str, topic: str) -> None:
    """A valid event of a foreign source, written straight to the broker, has no effect."""
    event = {**next(iter(examples(topic).values())), "source": "stranger", "madeby": "a test"}
    event |= {"id": str(uuid.uuid4()), "correlationid": str(uuid.uuid4())}
    put_at_the_broker(shopper.shop, topic, json.dumps(event).encode())

    letter = wait_for_letter(shopper, app_id, event["id"])
    publisher = read_topics()[topic].publisher
    if app_id in shopper.shop.options.replaced:  # another implementation has words of its own
        assert ["source", publisher] == [word for word in ("source", publisher) if word in letter["reason"]]
    else:
        assert f"the source is not {publisher!r}, the publisher of {topic!r}: 'stranger'" == letter["reason"]
    order_promptly(shopper)
    assert [] == [each for each in shopper.tap.seen if each.event.get("correlationid") == event["correlationid"]][1:]


@pytest.mark.usefixtures("all_processes_survive")
def test_an_event_with_an_invalid_id_makes_one_letter(shopper: Shopper) -> None:
    """The sidecar invents a new id at each delivery of such an event; the letter ignores it."""
    body = json.dumps({"id": 7, "type": ["x"], "stamp": uuid.uuid4().hex}).encode()
    before = len(ids_of(shopper, "user"))
    for _ in range(3):
        put(shopper.shop, "UserCreateRequested", body)
    wait_for_letter(shopper, "user", letter_id("UserCreateRequested", body))
    order_promptly(shopper)

    assert before + 1 == len(ids_of(shopper, "user"))


@pytest.mark.attack("events", "replies that are no events", "event parser")
@pytest.mark.usefixtures("all_processes_survive")
def test_the_gateway_logs_and_counts_them_and_answers_held_requests(shopper: Shopper) -> None:
    """The gateway keeps no dead letters: it logs and counts unusable events."""
    mark = uuid.uuid4().hex
    before = counted(shopper, "OrderCreated")
    for body in (f"hello {mark}".encode(), b"\xff" + mark.encode(), b"", b"[]"):
        put(shopper.shop, "OrderCreated", body)
    shopper.until(lambda: counted(shopper, "OrderCreated") >= before + 4, "the gateway to have seen them")
    order_promptly(shopper)

    assert before + 4 == counted(shopper, "OrderCreated")
    written = (shopper.shop.logs / "gateway.log").read_text()
    assert "dropped from OrderCreated: not a CloudEvent" in written
    assert mark not in written


def counted(shopper: Shopper, topic: str) -> int:
    """Return the number of a topic's events that the gateway could not use."""
    url = f"http://127.0.0.1:{shopper.shop.ports[metrics_of(GATEWAY)]}/metrics"
    selection = f'sidecart_events_total{{outcome="dead_letter",topic="{topic}"}}'
    text = httpx.get(url, trust_env=False).raise_for_status().text
    found = [line for line in text.splitlines() if selection.replace(",", "") in line.replace(",", "")]
    return int(float(found[0].split()[-1])) if found else 0


@pytest.mark.usefixtures("all_processes_survive")
def test_a_message_on_a_probe_topic_is_no_letter(shopper: Shopper) -> None:
    """Any message on a probe topic shows that delivery works, so it leaves no letter."""
    before = {app_id: ids_of(shopper, app_id) for app_id in app_ids() if app_id != GATEWAY}
    for name in (*before, "gateway-0"):
        put(shopper.shop, f"Probe-{name}", b"hello")
    order_promptly(shopper)

    assert before == {app_id: ids_of(shopper, app_id) for app_id in before}


@pytest.mark.parametrize("mib", [3, 12])
@pytest.mark.usefixtures("all_processes_survive")
def test_a_letter_keeps_the_beginning_of_a_large_message(shopper: Shopper, mib: int) -> None:
    """A sidecar limits its requests, and not the messages that it reads from the broker."""
    body = uuid.uuid4().bytes + b"\xff" * (mib * KIB * KIB)
    put_at_the_broker(shopper.shop, "OrderPaid", body)

    letter = wait_for_letter(shopper, "notification", letter_id("OrderPaid", body))
    assert body[: 720 * KIB] == stored(letter)
    order_promptly(shopper)


def test_a_different_order_still_works(shopper: Shopper) -> None:
    """After all of these messages, an order of another item completes as usual."""
    user_id = shopper.register()["user_id"]
    answer = shopper.http.post(
        "/order/create",
        json={"user_id": user_id, "items": [{"sku": "teapot", "quantity": 1, "unit_price_cents": 4999}]},
    )

    assert "OrderNotPaid" == shopper.final(answer.json()["order_id"])
