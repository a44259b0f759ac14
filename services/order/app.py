"""The wiring of the Order Service."""

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import msgspec

from services.order import domain, events, settings
from services.order.events import Input, Item
from sidecart.chassis import settings as common
from sidecart.chassis.record import Record
from sidecart.chassis.server.serve import Read, ServiceWiring, inbox, run, service_app
from sidecart.chassis.service import Service
from sidecart.chassis.sidecar import HttpSidecar


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
    return Service.of(domain, events, pay_within=pay_within)


SERVICE = service(timedelta(seconds=settings.PAY_WITHIN_SECONDS))
"""The service with the default settings, for the examples of its events."""


def wire(pay_within: timedelta, sidecar: HttpSidecar) -> ServiceWiring:
    """Return the subscriptions and reads of this service."""

    async def find_order(params: Mapping[str, str]) -> bytes | None:
        value, _ = await sidecar.load(f"order:{params['id']}")
        if value is None:
            return None
        record = msgspec.json.decode(value, type=Record)
        order = msgspec.json.decode(record.state, type=OrderView | None)
        return None if order is None else msgspec.json.encode(order)

    return ServiceWiring(inbox(service(pay_within), sidecar), [Read("/order/{id}", find_order)])


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = common.read()
    run(service_app("order", config, partial(wire, settings.read(os.environ).pay_within)), config)


if __name__ == "__main__":
    main()
