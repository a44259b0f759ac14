"""The wiring of the Order Service."""

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import msgspec

from chassis import settings as common
from chassis.inbound import Subscription
from chassis.processor import EventProcessor, Service
from chassis.record import Record
from chassis.serve import INBOX, Read, ServiceWiring, now, run, service_app
from chassis.sidecar import HttpSidecar
from services.order import domain, settings
from services.order.events import INPUTS, Input, Item


class OrderView(msgspec.Struct, omit_defaults=True):
    """The order in the body of `GET /order/{id}`."""

    order_id: str
    user_id: str
    items: list[Item]
    amount_cents: int
    status: str
    reason: str | None = None


def service(pay_within: timedelta) -> Service[domain.Order, Input]:
    """Describe the service to the event processor."""
    return Service(
        name="order",
        inputs=INPUTS,
        state=domain.Order,
        secondaries={},
        key=domain.key,
        is_creation=domain.is_creation,
        secondary_key=lambda _: None,
        step=partial(domain.step, pay_within=pay_within),
        subject=domain.subject,
    )


def wire(pay_within: timedelta, sidecar: HttpSidecar) -> ServiceWiring:
    """Return the subscriptions and reads of this service."""
    processor = EventProcessor(service(pay_within), sidecar, now)

    async def find_order(params: Mapping[str, str]) -> bytes | None:
        value, _ = await sidecar.load(f"order:{params['id']}")
        if value is None:
            return None
        record = msgspec.json.decode(value, type=Record)
        order = msgspec.json.decode(record.state, type=OrderView | None)
        return None if order is None else msgspec.json.encode(order)

    events = [Subscription(INBOX, topic, partial(processor.process, topic)) for topic in INPUTS]
    return ServiceWiring(events, [Read("/order/{id}", find_order)])


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = common.read()
    run(service_app("order", config, partial(wire, settings.read(os.environ).pay_within)), config)


if __name__ == "__main__":
    main()
