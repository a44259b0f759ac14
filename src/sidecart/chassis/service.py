"""A service as its domain declares it: pure functions from an event to a step.

Nothing here does I/O, so the same declaration runs in the event processor, in the simulation and in
a unit test.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

import msgspec

from sidecart.chassis.errors import PermanentError
from sidecart.chassis.events import CloudEvent, Received, derived_id, timestamp
from sidecart.chassis.publishers import publishers_of, read_publishers, read_replies
from sidecart.chassis.telemetry import tracing

S = TypeVar("S")
E = TypeVar("E")


@dataclass(frozen=True, slots=True)
class Step(Generic[S]):
    """The changes that one event makes.

    It holds the new state, the secondary records to write once, and the events to publish. If a
    step neither changes the state nor publishes, its secondary records are written without a save.
    They may then depend on the event, but not on the state.

    A step that erases data has `erased`: the final forms of secondary records, which overwrite what
    is there. It is empty if only the state loses data, and None if nothing is erased. A repeated
    erasure has None: its data is gone already.
    """

    state: S | None
    secondaries: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Any, ...] = ()
    erased: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Service(Generic[S, E]):
    """The declaration of one service; `of` reads it from the service's modules.

    `publishers` has the only valid source of the events of each input topic. `replies` are the
    topics of the outputs that the gateway consumes.
    The part of a key before its colon selects the type of a secondary record. `key` returns None
    for an event without a record; the step of such an event only writes secondary records, and the
    first write wins. `is_creation` returns whether the event's record most likely does not exist
    yet. `erasures` maps each topic whose events erase data to the field with the id of the person.
    `personal` maps each topic whose events hold such data to that field, for the erasure of dead
    letters.
    """

    name: str
    inputs: Mapping[str, type[E]]
    publishers: Mapping[str, str]
    state: type[S]
    secondaries: Mapping[str, type[Any]]
    key: Callable[[E], str | None]
    is_creation: Callable[[E], bool]
    secondary_key: Callable[[E], str | None]
    step: Callable[[S | None, Any, Received[E]], Step[S]]
    subject: Callable[[Any], str]
    replies: frozenset[str] = frozenset()
    erasures: Mapping[str, str] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        domain: ModuleType,
        events: ModuleType,
        publishers: Mapping[str, str] | None = None,
        key: Callable[[Any], str | None] | None = None,
        **settings: Any,
    ) -> Service[Any, Any]:
        """Read the declaration from `services.<name>.domain` and `services.<name>.events`.

        `events` defines `INPUTS`, the events by topic. `domain` defines `State`, `key`, `step` and
        `subject`. It may define `SECONDARIES` (record types by the prefix of their keys) together
        with `secondary_key`, and `is_creation`. `events` may define `ERASURES` and `PERSONAL`.
        `settings` are passed on to every call of `step`, and `key` replaces that of `domain`, for
        a key that needs a setting. `publishers`, and with them the replies, are by default those of
        the project's topic list. Raise TypeError for a module that lacks a definition, LookupError
        for an input without a publisher.
        """
        _require_definitions(domain, events)
        name, replies = domain.__name__.split(".")[-2], frozenset[str]()
        if publishers is None:
            folder = Path(str(events.__file__)).parent
            publishers, replies = read_publishers(folder), read_replies(folder, name)
        return cls(
            name=name,
            inputs=events.INPUTS,
            publishers=publishers_of(events.INPUTS, publishers),
            state=domain.State,
            secondaries=getattr(domain, "SECONDARIES", {}),
            key=key or domain.key,
            is_creation=getattr(domain, "is_creation", _never),
            secondary_key=getattr(domain, "secondary_key", _none),
            step=partial(domain.step, **settings) if settings else domain.step,
            subject=domain.subject,
            replies=replies,
            erasures=getattr(events, "ERASURES", {}),
            personal=getattr(events, "PERSONAL", {}),
        )

    def decide(self, state: S | None, secondary: Any, received: Received[E]) -> Step[S]:
        """Return the step for an event; raise PermanentError if the step fails."""
        try:
            return self.step(state, secondary, received)
        # A step does no I/O, so it fails by a permanent error or a bug, never by a transient error.
        except Exception as error:
            raise PermanentError(f"{type(error).__name__} in the step", str(error)) from error

    def outputs(self, step: Step[S], received: Received[E]) -> list[CloudEvent]:
        """Return the outputs of a step as events.

        They are the same at every repetition, except for their trace attributes.
        """
        trace = {} if tracing.spans is None else tracing.spans.attributes()
        return [
            CloudEvent(
                id=derived_id(received.id, self.name, type(output).__name__, position),
                type=type(output).__name__,
                source=self.name,
                subject=self.subject(output),
                correlationid=received.correlation_id,
                time=timestamp(received.at),
                data=msgspec.Raw(msgspec.json.encode(output)),
                replyto=received.reply_to or msgspec.UNSET,
                **trace,
            )
            for position, output in enumerate(step.outputs)
        ]

    def secondary_type(self, key: str) -> type[Any]:
        """Return the type of the secondary record with this key."""
        return self.secondaries[key.partition(":")[0]]


def _require_definitions(domain: ModuleType, events: ModuleType) -> None:
    lacking = [
        f"{module.__name__}.{name}"
        for module, names in ((domain, ("State", "key", "step", "subject")), (events, ("INPUTS",)))
        for name in names
        if not hasattr(module, name)
    ]
    if lacking:
        raise TypeError(f"the service lacks {', '.join(lacking)}")


def _never(_event: Any) -> bool:
    return False


def _none(_event: Any) -> None:
    return None
