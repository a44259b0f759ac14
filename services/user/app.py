"""The wiring of the User Service."""

from collections.abc import Mapping

from starlette.types import ASGIApp

from services.user import domain, events
from sidecart.chassis import settings
from sidecart.chassis.server.serve import Read, ServiceWiring, inbox, run, service_app
from sidecart.chassis.service import Service
from sidecart.chassis.sidecar import HttpSidecar

SERVICE = Service.of(domain, events)


def wire(sidecar: HttpSidecar) -> ServiceWiring:
    """Return the subscriptions and reads of this service."""

    async def find_user(params: Mapping[str, str]) -> bytes | None:
        return (await sidecar.load(f"user:{params['id']}"))[0]

    return ServiceWiring(inbox(SERVICE, sidecar), [Read("/user/{id}", find_user)])


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = settings.read()
    app: ASGIApp = service_app(SERVICE.name, config, wire)
    run(app, config)


if __name__ == "__main__":
    main()
