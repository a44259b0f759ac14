"""A rolling upgrade: replicas of the version before the list of payments run beside new ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from services.billing.domain import Account
from sidecart.chassis.events import Received
from sidecart.chassis.service import Service, Step
from sidecart.chassis.speculation import SpeculativeProcessor


@dataclass(frozen=True, slots=True)
class EarlierAccount:
    """The state of Billing as the earlier version reads and writes it."""

    user_id: str
    account_id: str
    balance_cents: int = 0
    announced: bool = False
    erased: bool = False


def mixed(service: Service[Any, Any], sidecar: Any, clock: Any, name: str) -> SpeculativeProcessor[Any, Any]:
    """Return a processor of the earlier version for every second process."""
    is_earlier = int(name.rpartition(" ")[2]) % 2 == 1
    return SpeculativeProcessor(earlier(service) if is_earlier else service, sidecar, clock, name)


def earlier(service: Service[Any, Any]) -> Service[Any, Any]:
    """Return the service of the earlier version, which loads every secondary record."""
    service = replace(service, lacks_secondary=lambda _state, _event: False)
    return replace(service, state=EarlierAccount, step=_earlier(service.step)) if service.name == "billing" else service


def _earlier(step: Callable[..., Step[Any]]) -> Callable[..., Step[Any]]:
    def decide(state: EarlierAccount | None, secondary: Any, received: Received[Any]) -> Step[Any]:
        done = step(None if state is None else Account(**asdict(state)), secondary, received)
        assert done.state is not None
        kept = {name: value for name, value in asdict(done.state).items() if name in EarlierAccount.__slots__}
        return replace(done, state=EarlierAccount(**kept))

    return decide
