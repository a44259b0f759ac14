"""The page's view of the dead letters, and the actions on one of them."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from sidecart.launcher.dead_letters import DeadLetter, Filter, Outcome, State, discard, find_dead_letters, replay
from sidecart.launcher.errors import LaunchError

SHOWN_MAX = 50
EVENT_CHARACTERS_MAX = 2_000
REASON_CHARACTERS_MAX = 500
ACTIONS: dict[str, Callable[[State, DeadLetter], Outcome]] = {"replay": replay, "discard": discard}


@dataclass(frozen=True, slots=True)
class DeadLetterView:
    """One open dead letter, as the page shows it."""

    id: str
    service: str
    topic: str
    time: str
    reason: str
    event: str
    status: str


@dataclass(frozen=True, slots=True)
class DeadLetterSummary:
    """The number of open dead letters, and the newest of them."""

    total: int
    newest: list[DeadLetterView]


def summarize(state: State) -> DeadLetterSummary:
    """Read all open dead letters; raise LaunchError if a service's state is unreachable."""
    total, newest = 0, list[DeadLetter]()
    for letter in find_dead_letters(state):
        total += 1
        newest = heapq.nlargest(SHOWN_MAX, [*newest, letter], key=lambda each: each.time)
    return DeadLetterSummary(total, [_view(each) for each in newest])


def act(state: State, service: str, letter_id: str, action: str) -> Outcome:
    """Replay or discard a dead letter; raise LaunchError if it is missing or unreachable."""
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
