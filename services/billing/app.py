"""The wiring of the Billing Service."""

from collections.abc import Mapping, Sequence

import msgspec

from services.billing import domain, events
from sidecart.chassis import settings
from sidecart.chassis.record import Record
from sidecart.chassis.server.serve import Read, ServiceWiring, inbox, run, service_app, unfinished
from sidecart.chassis.service import Service
from sidecart.chassis.sidecar import Sidecar

SERVICE = Service.of(domain, events)


class AccountView(msgspec.Struct):
    """The account in the body of `GET /account/{user_id}`."""

    user_id: str
    account_id: str
    balance_cents: int


class _Status(msgspec.Struct):
    announced: bool = False
    erased: bool = False


class DepositView(msgspec.Struct, omit_defaults=True):
    """The deposit in the body of a read; `reason` is set when it was refused."""

    deposit_id: str
    user_id: str
    amount_cents: int
    balance_cents: int
    reason: str | None = None


def wire(sidecar: Sidecar) -> ServiceWiring:
    """Return the subscriptions and reads of this service."""
    return ServiceWiring(inbox(SERVICE, sidecar), [*_resources(sidecar), *_unfinished(sidecar)])


def _resources(sidecar: Sidecar) -> list[Read]:
    async def find_account(params: Mapping[str, str]) -> bytes | None:
        value, _ = await sidecar.load(f"account:{params['user_id']}")
        if value is None:
            return None
        record = msgspec.json.decode(value, type=Record)
        account = msgspec.json.decode(record.state, type=AccountView | None)
        return None if account is None else msgspec.json.encode(account)

    async def export(params: Mapping[str, str]) -> bytes | None:
        return await find_account({"user_id": params["id"]})

    async def find_deposit(params: Mapping[str, str]) -> bytes | None:
        value, _ = await sidecar.load(f"deposit:{params['id']}")
        if value is None:
            return None
        deposit = msgspec.json.decode(value, type=DepositView)
        return msgspec.json.encode(deposit) if deposit.user_id == params["user_id"] else None

    return [
        Read("/account/{user_id}", find_account),
        Read("/account/{user_id}/deposit/{id}", find_deposit),
        Read("/export/user/{id}", export),
    ]


def _unfinished(sidecar: Sidecar) -> list[Read]:
    async def find_unfinished_users(params: Mapping[str, str]) -> bytes | None:
        ids = params["ids"].split(",")
        return unfinished(ids, [each.announced or each.erased for each in await statuses(ids)])

    async def find_unfinished_erasures(params: Mapping[str, str]) -> bytes | None:
        ids = params["ids"].split(",")
        return unfinished(ids, [each.erased for each in await statuses(ids)])

    async def statuses(user_ids: Sequence[str]) -> list[_Status]:
        values = await sidecar.load_many([f"account:{user_id}" for user_id in user_ids])
        return [_Status() if value is None else _status(value) for value in values]

    return [
        Read("/unfinished/user/{ids}", find_unfinished_users),
        Read("/unfinished/erasure/{ids}", find_unfinished_erasures),
    ]


def _status(value: bytes) -> _Status:
    return msgspec.json.decode(msgspec.json.decode(value, type=Record).state, type=_Status | None) or _Status()


def main() -> None:
    """Read the settings and serve until shutdown."""
    config = settings.read()
    run(service_app(SERVICE.name, config, wire), config)


if __name__ == "__main__":
    main()
