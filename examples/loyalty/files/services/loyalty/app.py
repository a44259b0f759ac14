"""The wiring of the Loyalty Service."""

from collections.abc import Mapping

import msgspec

from services.loyalty import domain, events
from sidecart.chassis import settings
from sidecart.chassis.record import Record
from sidecart.chassis.server.serve import Read, ServiceWiring, inbox, run, service_app
from sidecart.chassis.service import Service
from sidecart.chassis.sidecar import HttpSidecar

SERVICE = Service.of(domain, events)


def wire(sidecar: HttpSidecar) -> ServiceWiring:
    """Return the subscriptions and the read of this service."""

    async def find_points(params: Mapping[str, str]) -> bytes | None:
        value, _ = await sidecar.load(f"points:{params['user_id']}")
        if value is None:
            return None
        record = msgspec.json.decode(value, type=Record)
        points = msgspec.json.decode(record.state, type=domain.Points | None)
        return None if points is None else msgspec.json.encode({"user_id": points.user_id, "points": points.total})

    return ServiceWiring(inbox(SERVICE, sidecar), [Read("/loyalty/{user_id}", find_points)])


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = settings.read()
    run(service_app(SERVICE.name, config, wire), config)


if __name__ == "__main__":
    main()
