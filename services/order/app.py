"""The wiring of the Order Service."""

import os
from collections.abc import Mapping
from datetime import timedelta
from functools import partial

import msgspec

from services.order import domain, events, settings
from services.order.events import Input, Item
from services.order.price_list import EXAMPLE_PRICES
from sidecart.chassis import settings as common
from sidecart.chassis.record import Record
from sidecart.chassis.server.serve import Read, ServiceWiring, inbox, run, service_app
from sidecart.chassis.service import Service
from sidecart.chassis.sidecar import Sidecar


class OrderView(msgspec.Struct, omit_defaults=True):
    """The order in the body of `GET /order/{id}`."""

    order_id: str
    user_id: str
    items: list[Item]
    amount_cents: int
    status: str
    reason: str | None = None


def service(pay_within: timedelta, prices: Mapping[str, int]) -> Service[domain.Order, Input]:
    """Describe the service to the event processor."""
    return Service.of(domain, events, pay_within=pay_within, prices=prices)


SERVICE = service(timedelta(seconds=settings.PAY_WITHIN_SECONDS), EXAMPLE_PRICES)
"""The service with the default time limit, for the examples of its events."""


def wire(own: settings.Settings, sidecar: Sidecar) -> ServiceWiring:
    """Return the subscriptions and reads of this service."""

    async def find_order(params: Mapping[str, str]) -> bytes | None:
        value, _ = await sidecar.load(f"order:{params['id']}")
        if value is None:
            return None
        record = msgspec.json.decode(value, type=Record)
        order = msgspec.json.decode(record.state, type=OrderView | None)
        return None if order is None or order.status == "rejected" else msgspec.json.encode(order)

    async def list_products(_params: Mapping[str, str]) -> bytes:
        return own.price_list.body

    reads = [Read("/order/{id}", find_order), Read("/products", list_products)]
    return ServiceWiring(inbox(service(own.pay_within, own.price_list.prices), sidecar), reads)


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = common.read()
    run(service_app("order", config, partial(wire, settings.read(os.environ))), config)


if __name__ == "__main__":
    main()
