"""One action on many dead letters, with one entry of the audit trail.

The command line and the live page act by `perform` only. A run can be interrupted at any time and
repeated: a dead letter that it did not reach is still open, and so is one whose outcome it did not
learn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import groupby, islice

from sidecart.launcher.audit import NOT_REACHED, Operator, audited
from sidecart.launcher.claims import CONFLICT, Run, discard
from sidecart.launcher.dead_letters import (
    LOADED_MAX,
    DeadLetter,
    Filter,
    Outcome,
    State,
    find_dead_letters,
    load_dead_letters,
)
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.replays import PUBLISHED, Outcomes, publish_again

SELECTED_MAX = 100_000
"""Dead letters of one run: their ids take 20 MB. Repeat the run for the rest."""
TARGET_IDS_MAX = 5

ACTIONS: dict[str, Callable[[State, Run, DeadLetter], Outcome]] = {
    "replay": publish_again,
    "discard": lambda _state, run, letter: discard(run, letter),
}
DONE = ("replayed", "discarded")
"""The outcomes after which a dead letter needs nothing more."""
UNKNOWN = "not known yet"
"""The outcome of a replayed event that its service has not processed yet."""

Report = Callable[[DeadLetter, str, str], None]
"""Receives a dead letter, its outcome, and the reason of a failure."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The dead letters of a filter at one moment, by service and id."""

    filter: Filter
    ids: tuple[tuple[str, str], ...]
    groups: frozenset[str] = frozenset()
    """The groups of the dead letters, if the filter has a part of the reason."""

    @property
    def target(self) -> str:
        """The selection, as the audit trail shows it, without a text that an operator typed."""
        chosen = self.filter
        if chosen.group:
            return f"group {chosen.group}"
        named = {name: getattr(chosen, name) for name in ("service", "topic", "since")}
        words = [f"{name} {value}" for name, value in named.items() if value is not None]
        if chosen.reason is not None:
            words.append(f"a reason of {_some(self.groups, 'group ')}")
        if chosen.ids:
            words.insert(0, _some({id_ for _, id_ in self.ids}))
        return ", ".join(words) or "all"


def select(state: State, chosen: Filter) -> Selection:
    """Return the dead letters that a filter selects now, at most SELECTED_MAX."""
    found = islice(find_dead_letters(state, chosen), SELECTED_MAX)
    ids, groups = list[tuple[str, str]](), set[str]()
    for each in found:
        ids.append((each.service, each.id))
        if chosen.reason is not None:
            groups.add(each.cause.id)
    return Selection(chosen, tuple(ids), frozenset(groups))


def _some(ids: Collection[str], prefix: str = "") -> str:
    """Return the first ids, and the number of the others."""
    more = f" and {len(ids) - TARGET_IDS_MAX} more" if len(ids) > TARGET_IDS_MAX else ""
    return ", ".join(f"{prefix}{each}" for each in sorted(ids)[:TARGET_IDS_MAX]) + more


def perform(
    state: State,
    action: str,
    selection: Selection,
    operator: Operator,
    report: Report,
    is_stopped: Callable[[], bool] = lambda: False,
) -> Counter[str]:
    """Replay or discard the selected dead letters, and count them by outcome.

    `is_stopped` is asked before each one. One that another run settles or replays has the outcome
    `another run`, and one that does not match any more, `conflict`. A replay waits until the
    service has told the outcome, some seconds at most. Raise LaunchError before anything happens if
    the audit trail cannot be written.
    """
    with audited(state, operator, action, selection.target, len(selection.ids)) as (number, results):
        acting = _Acting(state, action, Run(state, number), results, report, is_stopped)
        for letters, missing in _batches(state, selection):
            results.update({CONFLICT: missing} if missing else {})
            acting.act(letters)
            if is_stopped():
                break
        left = len(selection.ids) - results.total()
        results.update({NOT_REACHED: left} if left else {})
    return +results


class _Acting:
    """Acts on one batch after the other, and counts the outcomes."""

    def __init__(
        self,
        state: State,
        action: str,
        run: Run,
        results: Counter[str],
        report: Report,
        is_stopped: Callable[[], bool],
    ) -> None:
        self._state = state
        self._action = action
        self._run = run
        self._results = results
        self._report = report
        self._is_stopped = is_stopped
        self._outcomes = Outcomes(state, run, is_stopped)

    def act(self, letters: Sequence[DeadLetter]) -> None:
        """Act on dead letters of one service until the run is stopped, and learn the outcomes."""
        published: dict[str, DeadLetter] = {}
        try:
            for letter in letters:
                if self._is_stopped():
                    break
                outcome, why = self._attempt(letter)
                if outcome == PUBLISHED:
                    published[letter.id] = letter
                    self._results[UNKNOWN] += 1
                else:
                    self._results[outcome] += 1
                    self._report(letter, outcome, why)
            for letter, outcome in self._outcomes.wait(letters[0].service, list(published.values())) if letters else ():
                self._learn(published.pop(letter.id), outcome)
        except BaseException:
            self._learn_now(published)
            raise
        for letter in published.values():
            self._report(letter, UNKNOWN, "")

    def _attempt(self, letter: DeadLetter) -> tuple[str, str]:
        if not letter.is_open:
            return self._run.lost({"status": letter.status}), ""
        try:
            return ACTIONS[self._action](self._state, self._run, letter), ""
        except LaunchError as error:
            return "failed", str(error)

    def _learn(self, letter: DeadLetter, outcome: str) -> None:
        self._results[UNKNOWN] -= 1
        self._results[outcome] += 1
        self._report(letter, outcome, "")

    def _learn_now(self, published: dict[str, DeadLetter]) -> None:
        """Count what an interrupted run can still learn without a wait."""
        letters = list(published.values())
        with suppress(LaunchError):
            for letter, outcome in self._outcomes.now(letters[0].service, letters) if letters else ():
                self._learn(letter, outcome)


def _batches(state: State, selection: Selection) -> Iterator[tuple[Sequence[DeadLetter], int]]:
    """Read the selected dead letters again, some at once, and count those that do not match now.

    The settled ones are among them: another run has been faster.
    """
    chosen = replace(selection.filter, ids=(), settled=True)
    for service, pairs in groupby(selection.ids, key=lambda each: each[0]):
        ids = [id_ for _, id_ in pairs]
        for start in range(0, len(ids), LOADED_MAX):
            some = ids[start : start + LOADED_MAX]
            letters = list(load_dead_letters(state, service, some, chosen))
            yield letters, len(some) - len(letters)
