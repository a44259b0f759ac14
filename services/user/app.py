"""The wiring of the User Service."""

from collections.abc import Mapping
from functools import partial

from starlette.types import ASGIApp

from chassis import settings
from chassis.inbound import Subscription
from chassis.processor import EventProcessor, Service
from chassis.serve import INBOX, Read, ServiceWiring, now, run, service_app
from chassis.sidecar import HttpSidecar
from services.user import domain
from services.user.events import INPUTS, Input

SERVICE: Service[domain.Registration, Input] = Service(
    name="user",
    inputs=INPUTS,
    state=domain.Registration,
    secondaries={"user": domain.User},
    key=domain.key,
    is_creation=domain.is_creation,
    secondary_key=domain.secondary_key,
    step=domain.step,
    subject=domain.subject,
)


def wire(sidecar: HttpSidecar) -> ServiceWiring:
    """Return the subscriptions and reads of this service."""
    processor = EventProcessor(SERVICE, sidecar, now)

    async def find_user(params: Mapping[str, str]) -> bytes | None:
        return (await sidecar.load(f"user:{params['id']}"))[0]

    events = [Subscription(INBOX, topic, partial(processor.process, topic)) for topic in INPUTS]
    return ServiceWiring(events, [Read("/user/{id}", find_user)])


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = settings.read()
    app: ASGIApp = service_app(SERVICE.name, config, wire)
    run(app, config)


if __name__ == "__main__":
    main()
