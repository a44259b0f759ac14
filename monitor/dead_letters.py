"""The dead letters, as the page shows them, and what can be done about one."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from cli.dead_letters import DeadLetter, Filter, Outcome, State, discard, find_dead_letters, replay
from cli.errors import LaunchError

SHOWN_MAX = 50
EVENT_CHARACTERS_MAX = 2_000
REASON_CHARACTERS_MAX = 500
ACTIONS: dict[str, Callable[[State, DeadLetter], Outcome]] = {"replay": replay, "discard": discard}


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """One open letter."""

    id: str
    service: str
    topic: str
    time: str
    reason: str
    event: str
    status: str


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """All open letters: how many, and the newest."""

    total: int
    newest: list[DeadLetterView]


def summarize(state: State) -> DeadLetterSummary:
    """Read them; raise LaunchError when a service's state cannot be reached."""
    total, newest = 0, list[DeadLetter]()
    for letter in find_dead_letters(state):
        total += 1
        newest = heapq.nlargest(SHOWN_MAX, [*newest, letter], key=lambda each: each.time)
    return DeadLetterSummary(total, [_view(each) for each in newest])


def act(state: State, service: str, letter_id: str, action: str) -> Outcome:
    """Replay or discard one; raise LaunchError if it is not there, or could not be reached."""
    for letter in find_dead_letters(state, Filter((letter_id,), service)):
        if letter.id == letter_id:
            return ACTIONS[action](state, letter)
    raise LaunchError(f"{service} has no open dead letter {letter_id}")


def _view(letter: DeadLetter) -> DeadLetterView:
    return DeadLetterView(
        letter.id,
        letter.service,
        letter.topic,
        letter.time,
        letter.reason[:REASON_CHARACTERS_MAX],
        letter.text[:EVENT_CHARACTERS_MAX],
        letter.status,
    )
