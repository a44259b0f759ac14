"""The page's view of the dead letters, and the actions on one of them or on a group."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from sidecart.launcher.audit import Operator
from sidecart.launcher.dead_letter_groups import Group, Grouping
from sidecart.launcher.dead_letter_runs import Selection, perform
from sidecart.launcher.dead_letters import DeadLetter, Filter, State, find_dead_letters
from sidecart.launcher.errors import LaunchError

SHOWN_MAX = 50
GROUPS_SHOWN_MAX = 100
EVENT_CHARACTERS_MAX = 2_000
REASON_CHARACTERS_MAX = 500


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
    """The number of open dead letters, the newest of them, and the largest groups."""

    total: int
    newest: list[DeadLetterView]
    groups: list[Group]
    more: int = 0
    """Groups that the page does not show, and dead letters without a group."""


def summarize(state: State) -> DeadLetterSummary:
    """Read all open and erased dead letters; raise LaunchError if a state is unreachable."""
    total, newest, grouping = 0, list[DeadLetter](), Grouping()
    for letter in find_dead_letters(state, Filter(settled=True)):
        grouping.add(letter)
        if letter.is_open:
            total += 1
            newest = heapq.nlargest(SHOWN_MAX, [*newest, letter], key=lambda each: each.time)
    found = grouping.result()
    more = max(0, len(found.groups) - GROUPS_SHOWN_MAX) + found.ungrouped
    return DeadLetterSummary(total, [_view(each) for each in newest], found.groups[:GROUPS_SHOWN_MAX], more)


def act(state: State, service: str, letter_id: str, action: str, operator: Operator) -> str:
    """Replay or discard a dead letter; return the outcome.

    Raise LaunchError if it is missing, unreachable or cannot be replayed.
    """
    chosen = Filter((letter_id,), service)
    if not any(letter.id == letter_id for letter in find_dead_letters(state, chosen)):
        raise LaunchError(f"{service} has no open dead letter {letter_id}")
    failures: list[str] = []
    selection = Selection(chosen, ((service, letter_id),))
    outcomes = perform(state, action, selection, operator, lambda _letter, _outcome, why: failures.append(why))
    if "failed" in outcomes:
        raise LaunchError(failures[-1])
    return next(iter(outcomes))


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
