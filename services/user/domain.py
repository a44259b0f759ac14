"""The registration aggregate.

The first command for an e-mail address wins. A repeated command gets the same answer again.
"""

from dataclasses import dataclass

from services.user.events import Input, Output, UserCreated, UserCreateRejected, UserCreateRequested
from sidecart.chassis.events import Received
from sidecart.chassis.service import Step


@dataclass(frozen=True, slots=True)
class Registration:
    """The user who owns an e-mail address, and the id of the command that registered the user."""

    user_id: str
    email: str
    name: str
    command_id: str


@dataclass(frozen=True, slots=True)
class User:
    """The secondary record that answers `GET /user/{id}`."""

    user_id: str
    email: str
    name: str


State = Registration
SECONDARIES = {"user": User}


def key(event: Input) -> str:
    """Return the record key of an address, case-folded.

    `|` and `%` are percent-encoded because Dapr rejects a key that contains `||`.
    """
    return "email:" + event.email.casefold().replace("%", "%25").replace("|", "%7C")


def is_creation(event: Input) -> bool:
    """Return True: the address of most commands has no record yet."""
    return True


def secondary_key(event: Input) -> str:
    """Return the key of the record that answers reads."""
    return f"user:{event.user_id}"


def subject(output: Output) -> str:
    """Return the id of the user that the output describes."""
    return output.user_id


def step(state: Registration | None, secondary: User | None, received: Received[Input]) -> Step[Registration]:
    """Register the first user of an address; reject every other command with a reason."""
    match state, received.event:
        case None, UserCreateRequested(user_id, email, name):
            registration = Registration(user_id, email, name, received.correlation_id)
            secondaries = {} if secondary else {f"user:{user_id}": User(user_id, email, name)}
            return Step(registration, secondaries, (UserCreated(user_id, email, name),))
        case Registration(user_id, email, name, command_id), _ if command_id == received.correlation_id:
            return Step(state, outputs=(UserCreated(user_id, email, name),))
        case Registration(user_id), UserCreateRequested(requested_id) if user_id == requested_id:
            return Step(state, outputs=(UserCreateRejected(requested_id, "key_reused"),))
        case _, UserCreateRequested(requested_id):
            return Step(state, outputs=(UserCreateRejected(requested_id, "email_taken"),))
