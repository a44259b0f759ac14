"""The registration aggregate.

The first command for an e-mail address wins. A repeated command gets the same answer again, unless
its user was erased since then. An erased user never returns, and the address is free again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from services.user.events import (
    Input,
    Output,
    UserCreated,
    UserCreateRejected,
    UserCreateRequested,
    UserErased,
    UserEraseRequested,
)
from sidecart.chassis.events import Received
from sidecart.chassis.service import Step

Hash = Callable[[str], str]
"""Returns the keyed hash of a text."""


@dataclass(frozen=True, slots=True)
class Registration:
    """The user who owns an e-mail address, and the id of the command that registered the user."""

    user_id: str
    email: str
    name: str
    command_id: str


@dataclass(frozen=True, slots=True)
class User:
    """The secondary record that answers `GET /user/{id}`; an erased one has no address and no name.

    `address_hash` names the record of the address, also of an erased one.
    """

    user_id: str
    email: str
    name: str
    address_hash: str = ""
    erased: bool = False


State = Registration
SECONDARIES = {"user": User}


def key(event: Input, *, keyed_hash: Hash) -> str:
    """Return the record key of an address: its keyed hash, case-folded."""
    return f"email:{hash_of(event, keyed_hash)}"


def hash_of(event: Input, keyed_hash: Hash) -> str:
    """Return the keyed hash of the address that an event names."""
    return event.address_hash if isinstance(event, UserEraseRequested) else keyed_hash(event.email.casefold())


def secondary_key(event: Input) -> str:
    """Return the key of the record that answers reads."""
    return f"user:{event.user_id}"


def subject(output: Output) -> str:
    """Return the id of the user that the output describes."""
    return output.user_id


def step(
    state: Registration | None, secondary: User | None, received: Received[Input], *, keyed_hash: Hash
) -> Step[Registration]:
    """Register the first user of an address, or erase a user; reject every other command."""
    event = received.event
    if isinstance(event, UserEraseRequested):
        return _erase(state, secondary, event)
    rejection = _rejection(state, secondary, received.correlation_id, event, hash_of(event, keyed_hash))
    if rejection is not None:
        return Step(state, outputs=(rejection,))
    if state is not None:
        return Step(state, outputs=(UserCreated(state.user_id, state.email, state.name),))
    user = User(event.user_id, event.email, event.name, hash_of(event, keyed_hash))
    registration = Registration(event.user_id, event.email, event.name, received.correlation_id)
    secondaries = {} if secondary else {f"user:{event.user_id}": user}
    return Step(registration, secondaries, (UserCreated(event.user_id, event.email, event.name),))


def _rejection(
    state: Registration | None, known: User | None, command_id: str, event: UserCreateRequested, address_hash: str
) -> UserCreateRejected | None:
    """Return the rejection of a registration, or None for a new or a repeated one."""
    if known is not None and known.erased:
        return UserCreateRejected(event.user_id, "erased")
    if state is None:
        # One user has one address: an erasure finds no second one.
        has_another = known is not None and known.address_hash not in ("", address_hash)
        return UserCreateRejected(event.user_id, "key_reused") if has_another else None
    if state.command_id == command_id:
        return None
    return UserCreateRejected(event.user_id, "key_reused" if state.user_id == event.user_id else "email_taken")


def _erase(state: Registration | None, known: User | None, event: UserEraseRequested) -> Step[Registration]:
    """Erase a user, whose address may belong to another one by now."""
    kept = None if state is None or state.user_id == event.user_id else state
    if known is not None and known.erased and kept == state:
        return Step(state, outputs=(UserErased(event.user_id),))
    erased = User(event.user_id, "", "", event.address_hash, erased=True)
    return Step(kept, outputs=(UserErased(event.user_id),), erased={f"user:{event.user_id}": erased})
