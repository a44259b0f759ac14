"""The events that the User Service consumes and publishes."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from sidecart.chassis.fields import CONTROL, LINE, SPACE, Uuid

_PART = rf"[^@{CONTROL}{SPACE}\ufeff]+"
Email = Annotated[str, Meta(min_length=3, max_length=254, pattern=rf"^{_PART}@{_PART}\Z")]
Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=LINE)]


@dataclass(frozen=True, slots=True)
class UserCreateRequested:
    """A command to register a user."""

    user_id: Uuid
    email: Email
    name: Name


@dataclass(frozen=True, slots=True)
class UserEraseRequested:
    """A command to erase a user; `address_hash` is the keyed hash of the user's address."""

    user_id: Uuid
    address_hash: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


@dataclass(frozen=True, slots=True)
class UserCreated:
    """A user is registered."""

    user_id: str
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class UserCreateRejected:
    """A registration was refused."""

    user_id: str
    reason: Literal["email_taken", "key_reused", "erased"]


@dataclass(frozen=True, slots=True)
class UserErased:
    """A user is erased; no service keeps the user's contact data."""

    user_id: str


Input = UserCreateRequested | UserEraseRequested
Output = UserCreated | UserCreateRejected | UserErased
INPUTS: dict[str, type[Input]] = {
    "UserCreateRequested": UserCreateRequested,
    "UserEraseRequested": UserEraseRequested,
}
ERASURES = {"UserEraseRequested": "user_id"}
PERSONAL = {"UserCreateRequested": "user_id"}
