"""A toy service for the event processor: jars that coins are put into, each coin once."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid5

import msgspec
from msgspec import Meta

from chassis.events import Received
from chassis.processor import EventProcessor, Service, Step
from tests.unit.chassis.fakes import FakeSidecar

AT = datetime(2026, 1, 2, 3, 4, 5, 678900, UTC)
NAMES = UUID(int=0)
FULL = 100


@dataclass(frozen=True, slots=True)
class CoinPut:
    """A coin is put into a jar."""

    jar_id: str
    coin_id: str
    value: Annotated[int, Meta(ge=1)]


@dataclass(frozen=True, slots=True)
class JarPainted:
    """A jar has a colour now; nothing else remembers it."""

    jar_id: str
    colour: str


@dataclass(frozen=True, slots=True)
class CoinKept:
    """A coin is in its jar."""

    jar_id: str
    total: int


@dataclass(frozen=True, slots=True)
class BellRung:
    """Somebody heard the coin fall."""

    jar_id: str


@dataclass(frozen=True, slots=True)
class JarSeen:
    """A jar has its colour."""

    jar_id: str
    colour: str


@dataclass(frozen=True, slots=True)
class Jar:
    """What is in a jar."""

    total: int = 0
    colour: str = "none"


@dataclass(frozen=True, slots=True)
class Coin:
    """What the jar held after this coin."""

    total: int


Input = CoinPut | JarPainted


def step(state: Jar | None, secondary: Coin | None, received: Received[Input]) -> Step[Jar]:
    """Add a coin once, or paint."""
    jar = state or Jar()
    match received.event:
        case JarPainted(jar_id, colour):
            if colour == "plaid":
                raise LookupError("no such paint")  # a bug that is no assertion
            return Step(replace(jar, colour=colour), outputs=(JarSeen(jar_id, colour),))
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
    state=Jar,
    secondaries={"coin": Coin},
    is_creation=lambda _: False,
    key=lambda event: f"jar:{event.jar_id}",
    secondary_key=lambda event: f"coin:{event.coin_id}" if isinstance(event, CoinPut) else None,
    step=step,
    subject=lambda output: output.jar_id,
)


def processor(sidecar: FakeSidecar, name: str = "a process", at: datetime = AT) -> EventProcessor[Jar, Input]:
    """One process of the service, at a time that is paused."""
    return EventProcessor(JARS, sidecar, lambda: at, name)


def named(word: str) -> str:
    """An id that can be told from others by its word."""
    return str(uuid5(NAMES, word))


def event(kind: str, name: str, **data: Any) -> bytes:
    """The bytes of the event of this name, as a sidecar would bring them."""
    return msgspec.json.encode({"id": named(name), "type": kind, "correlationid": named(f"why {name}"), "data": data})


def coin(name: str, value: int = 5, jar: str = "a") -> bytes:
    """One coin into jar `a`."""
    return event("CoinPut", name, jar_id=jar, coin_id=name, value=value)


def paint(name: str, colour: str) -> bytes:
    """A colour for jar `a`."""
    return event("JarPainted", name, jar_id="a", colour=colour)
