"""A toy service for the event processor: coins are put into jars, and each coin counts once."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Meta

from sidecart.chassis.events import Received
from sidecart.chassis.service import Service, Step
from sidecart.chassis.speculation import SpeculativeProcessor
from tests.unit.chassis.fakes import FakeSidecar

AT = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC)
NAMES = UUID(int=0)
FULL = 100


@dataclass(frozen=True, slots=True)
class CoinPut:
    """A coin was put into a jar."""

    jar_id: str
    coin_id: str
    value: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class JarPainted:
    """A jar was painted; no secondary record stores this event."""

    jar_id: str
    color: str


@dataclass(frozen=True, slots=True)
class CoinKept:
    """The jar accepted a coin."""

    jar_id: str
    total: int


@dataclass(frozen=True, slots=True)
class BellRung:
    """The second output of each coin, without further data."""

    jar_id: str


@dataclass(frozen=True, slots=True)
class JarSeen:
    """The jar has this color."""

    jar_id: str
    color: str


@dataclass(frozen=True, slots=True)
class Jar:
    """The state of a jar."""

    total: int = 0
    color: str = "none"


@dataclass(frozen=True, slots=True)
class Coin:
    """The secondary record of a coin: the total of the jar after it."""

    total: int


Input = CoinPut | JarPainted


def step(state: Jar | None, secondary: Coin | None, received: Received[Input]) -> Step[Jar]:
    """Add a coin once, or paint the jar."""
    jar = state or Jar()
    match received.event:
        case JarPainted(jar_id, color):
            if color == "plaid":
                raise LookupError("no such paint")  # a bug that is not an AssertionError
            return Step(replace(jar, color=color), outputs=(JarSeen(jar_id, color),))
        case CoinPut(jar_id, coin_id, value):
            if secondary is not None:
                return Step(state, outputs=(CoinKept(jar_id, secondary.total), BellRung(jar_id)))
            total = jar.total + value
            assert total < FULL, "the jar is full"
            outputs = CoinKept(jar_id, total), BellRung(jar_id)
            return Step(replace(jar, total=total), {f"coin:{coin_id}": Coin(total)}, outputs)


JARS: Service[Jar, Input] = Service(
    name="jars",
    inputs={"CoinPut": CoinPut, "JarPainted": JarPainted},
    publishers={"CoinPut": "gateway", "JarPainted": "gateway"},
    state=Jar,
    secondaries={"coin": Coin},
    is_creation=lambda _: False,
    key=lambda event: f"jar:{event.jar_id}",
    secondary_key=lambda event: f"coin:{event.coin_id}" if isinstance(event, CoinPut) else None,
    step=step,
    subject=lambda output: output.jar_id,
    replies=frozenset({"CoinKept"}),
)


def processor(sidecar: FakeSidecar, name: str = "a process", at: datetime = AT) -> SpeculativeProcessor[Jar, Input]:
    """Return the processor of one process, with a clock that shows a fixed time."""
    return SpeculativeProcessor(JARS, sidecar, lambda: at, name)


def named(word: str) -> str:
    """Return an id that is derived from a word."""
    return str(uuid5(NAMES, word))


def event(kind: str, name: str, reply_to: str = "", **data: Any) -> bytes:
    """Return an event with an id that is derived from `name`, as a sidecar delivers it."""
    attributes = {"id": named(name), "type": kind, "source": "gateway", "correlationid": named(f"why {name}")}
    attributes |= {"replyto": reply_to} if reply_to else {}
    return msgspec.json.encode({**attributes, "data": data})


def coin(name: str, value: int = 5, jar: str = "a", reply_to: str = "") -> bytes:
    """Return the event of one coin, by default for jar `a`."""
    return event("CoinPut", name, reply_to, jar_id=jar, coin_id=name, value=value)


def paint(name: str, color: str) -> bytes:
    """Return the event that paints jar `a`."""
    return event("JarPainted", name, jar_id="a", color=color)
