"""The parts of a flow: steps, the changes that viewers receive, and requests through the page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Tone = Literal["good", "bad", "plain"]
"""The meaning of a step or an outcome, which the page shows as a color beside the text."""

CLIENT = "client"
BROKER = "broker"
MAIL = "mail"
OTHER = "other"
"""The kind of a flow whose command has not been seen."""
IN_PROGRESS = "in progress"
UNKNOWN = "outcome not seen"
"""The outcome of a flow whose command was not seen: it may have ended before the page opened."""


@dataclass(slots=True)
class Step:
    """One row of the diagram: a request, an event with its consumers, a response or a mail."""

    number: int
    kind: str
    """request, event, answer or mail."""
    name: str
    source: str
    targets: tuple[str, ...]
    at: float
    """Wall clock in whole milliseconds, the resolution of event times."""
    rank: float
    """Sorts steps of the same millisecond."""
    note: str = ""
    tone: Tone = "plain"
    times: int = 1
    """How often it was seen: an event may be published or delivered again."""


@dataclass(slots=True)
class Flow:
    """A command with all steps that follow it."""

    number: int
    kind: str
    title: str
    outcome: str = IN_PROGRESS
    tone: Tone = "plain"
    subject: str = ""
    ids: dict[str, str] = field(default_factory=dict)
    """The ids of the resources whose panels show values, by the id's name."""
    steps: list[Step] = field(default_factory=list)
    dead_steps: list[int] = field(default_factory=list)
    """The numbers of the steps whose events are open dead letters."""
    began_at: float = 0.0
    """When the page saw its first step, in milliseconds: a replayed event has an old time."""


@dataclass(frozen=True, slots=True)
class Change:
    """A notice to the page: the flow without its other steps, and its new or repeated step."""

    flow: Flow
    step: Step


def head_of(flow: Flow) -> Flow:
    """Return a flow without its steps; later changes of the flow do not change it."""
    return replace(flow, ids=dict(flow.ids), steps=[], dead_steps=list(flow.dead_steps))


def change_of(flow: Flow, step: Step) -> Change:
    """Return the notice about a step; later changes of the flow do not change the notice."""
    return Change(head_of(flow), step)


@dataclass(frozen=True, slots=True)
class Call:
    """A request through the page, and its response; times are milliseconds of the wall clock."""

    path: str
    body: Mapping[str, Any]
    status: int
    reason: str
    answer: Mapping[str, Any]
    location: str
    """The path of the created resource, empty without one."""
    requested_at: float
    answered_at: float

    @property
    def resource(self) -> str:
        """The id of the resource that the request created or will create, empty without one."""
        return self.location.rpartition("/")[2] if self.status < 400 else ""
