"""The wiring of the User Service."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import msgspec
from starlette.types import ASGIApp

from services.user import domain, events
from services.user.domain import Hash, User
from sidecart.chassis import settings
from sidecart.chassis.keyed_hash import KeyedHash, keyed_hash
from sidecart.chassis.server.inbound import Handler
from sidecart.chassis.server.serve import Read, ServiceWiring, inbox, run, service_app
from sidecart.chassis.service import Service
from sidecart.chassis.sidecar import Sidecar

SECRET = "address-secret"
EXAMPLE_SECRET = b"the secret of the examples"
"""Instead of the secret in the store, for the examples of the events."""


def service(hash_: Hash) -> Service[domain.Registration, events.Input]:
    """Describe the service to the event processor."""
    return Service.of(domain, events, key=partial(domain.key, keyed_hash=hash_), keyed_hash=hash_)


SERVICE = service(partial(keyed_hash, EXAMPLE_SECRET))


class UserView(msgspec.Struct):
    """The user in the body of a read."""

    user_id: str
    email: str
    name: str


class ErasureView(msgspec.Struct):
    """The fields of UserEraseRequested, in the body of `GET /erasure/{id}`."""

    user_id: str
    address_hash: str


def wire(sidecar: Sidecar) -> ServiceWiring:
    """Return the subscriptions and reads of this service."""
    hash_ = KeyedHash(sidecar, SECRET)

    async def find(user_id: str) -> User | None:
        value, _ = await sidecar.load(f"user:{user_id}")
        return None if value is None else msgspec.json.decode(value, type=User)

    async def find_user(params: Mapping[str, str]) -> bytes | None:
        user = await find(params["id"])
        return (
            None if user is None or user.erased else msgspec.json.encode(UserView(user.user_id, user.email, user.name))
        )

    async def find_erasure(params: Mapping[str, str]) -> bytes | None:
        user = await find(params["id"])
        return None if user is None else msgspec.json.encode(ErasureView(user.user_id, user.address_hash))

    subscriptions = [
        replace(each, handle=partial(_handle, hash_, each.handle)) for each in inbox(service(hash_), sidecar)
    ]
    return ServiceWiring(
        subscriptions,
        [
            Read("/user/{id}", find_user),
            Read("/erasure/{id}", find_erasure),
            Read("/export/user/{id}", find_user),
        ],
    )


async def _handle(hash_: KeyedHash, handle: Handler, body: bytes) -> None:
    """Load the secret before the first event: the service starts before its sidecar does."""
    await hash_.load()
    await handle(body)


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = settings.read()
    app: ASGIApp = service_app(SERVICE.name, config, wire)
    run(app, config)


if __name__ == "__main__":
    main()
