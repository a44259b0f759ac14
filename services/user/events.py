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
class UserCreated:
    """A user is registered."""

    user_id: str
    email: str
    name: str


@dataclass(frozen=True, slots=True)
class UserCreateRejected:
    """A registration was refused."""

    user_id: str
    reason: Literal["email_taken", "key_reused"]


Input = UserCreateRequested
Output = UserCreated | UserCreateRejected
INPUTS: dict[str, type[Input]] = {"UserCreateRequested": UserCreateRequested}
