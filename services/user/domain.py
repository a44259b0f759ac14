"""The user: the first command for an e-mail address wins, and a repeated one is answered again."""

from dataclasses import dataclass

from chassis.events import Received
from chassis.processor import Step
from services.user.events import Input, Output, UserCreated, UserCreateRejected, UserCreateRequested


@dataclass(frozen=True, slots=True)
class Registration:
    """Who holds an e-mail address, and the command that made it so."""

    user_id: str
    email: str
    name: str
    command_id: str


@dataclass(frozen=True, slots=True)
class User:
    """The user, for reads."""

    user_id: str
    email: str
    name: str


def key(event: Input) -> str:
    """One record an address, compared case-folded; `|` and `%` are escaped, for a key may not hold `||`."""
    return "email:" + event.email.casefold().replace("%", "%25").replace("|", "%7C")


def is_creation(event: Input) -> bool:
    """Most addresses are new."""
    return True


def secondary_key(event: Input) -> str:
    """Return the key of the record that reads are answered from."""
    return f"user:{event.user_id}"


def subject(output: Output) -> str:
    """The user that the event is about."""
    return output.user_id


def step(state: Registration | None, secondary: User | None, received: Received[Input]) -> Step[Registration]:
    """Register the first who asks for an address; tell everybody else why not."""
    match state, received.event:
        case None, UserCreateRequested(user_id, email, name):
            registration = Registration(user_id, email, name, received.correlation_id)
            secondaries = {} if secondary else {f"user:{user_id}": User(user_id, email, name)}
            return Step(registration, secondaries, (UserCreated(user_id, email, name),))
        case Registration(user_id, email, name, command_id), _ if command_id == received.correlation_id:
            return Step(state, outputs=(UserCreated(user_id, email, name),))
        case Registration(user_id), UserCreateRequested(asked_id) if user_id == asked_id:
            return Step(state, outputs=(UserCreateRejected(asked_id, "key_reused"),))
        case _, UserCreateRequested(asked_id):
            return Step(state, outputs=(UserCreateRejected(asked_id, "email_taken"),))
