"""The table of attacks and mutants, from the reports of their tests."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

ATTACK, MUTANT = "attack", "mutant"
GROUP, NAME, CONTROL = "group", "name", "control"
GROUPS = ("tokens", "other users", "processes", "servers", "requests", "events", "injection", "browser")
"""The sequence in the table; other groups follow."""
PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"
MISSING = "-"
"""In place of a result: no test of the attack applies to this broker."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One test of an attack, or of an attack without its control."""

    kind: str
    group: str
    name: str
    control: str
    outcome: str


@dataclass(slots=True)
class Row:
    """All variants of one attack, or of one mutant, by broker."""

    group: str
    name: str
    control: str
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))

    @property
    def variants(self) -> int:
        """The number of variants; brokers may differ in it."""
        return max(counts.total() for counts in self.outcomes.values())

    def has(self, outcome: str) -> bool:
        """Return whether a variant had this outcome on any broker."""
        return any(counts[outcome] for counts in self.outcomes.values())


def read(report: str) -> list[Trial]:
    """Return the trials of a report in junit XML; other tests are left out."""
    trials = []
    for case in ElementTree.fromstring(report).iter("testcase"):
        words = {str(one.get("name")): str(one.get("value")) for one in case.iter("property")}
        if "kind" in words:
            outcome = PASSED
            if case.find("skipped") is not None:
                outcome = SKIPPED
            elif case.find("failure") is not None or case.find("error") is not None:
                outcome = FAILED
            trials.append(Trial(words["kind"], words[GROUP], words[NAME], words[CONTROL], outcome))
    return trials


def rows(kind: str, trials: Mapping[str, Iterable[Trial]]) -> list[Row]:
    """Return the rows of the attacks or of the mutants, from the trials of each broker."""
    found: dict[tuple[str, str, str], Row] = {}
    for broker, listed in trials.items():
        for each in listed:
            if each.kind == kind:
                words = each.group, each.name, each.control
                found.setdefault(words, Row(*words)).outcomes[broker][each.outcome] += 1
    return sorted(found.values(), key=lambda row: GROUPS.index(row.group) if row.group in GROUPS else len(GROUPS))


def attack_result(counts: Counter[str]) -> str:
    """Return the result of an attack: a failed test says that it succeeded, or could not be
    tried.
    """
    if counts[FAILED]:
        return f"SUCCEEDED ({counts[FAILED]})"
    return "not run" if counts[SKIPPED] else "refused" if counts else MISSING


def mutant_result(counts: Counter[str]) -> str:
    """Return the result of a mutant: found if its attack succeeded."""
    if counts[FAILED]:
        return f"NOT FOUND ({counts[FAILED]})"
    return "not run" if counts[SKIPPED] else "found" if counts else MISSING


def table(trials: Mapping[str, Iterable[Trial]]) -> list[str]:
    """Return the lines of the table."""
    brokers = list(trials)
    attacks, mutants = rows(ATTACK, trials), rows(MUTANT, trials)
    head = ["attack", "control", "variants", *brokers]
    tried = [
        [f"{row.group}: {row.name}", row.control, str(row.variants)]
        + [attack_result(row.outcomes[broker]) for broker in brokers]
        for row in attacks
    ]
    removed = [
        [f"{row.group}: {row.name}", f"without {row.control}", str(row.variants)]
        + [mutant_result(row.outcomes[broker]) for broker in brokers]
        for row in mutants
    ]
    lines = _aligned([head, *tried, ["mutant", "control", "variants", *brokers], *removed])
    return [*lines[: len(tried) + 1], "", *lines[len(tried) + 1 :]]


def summary(trials: Mapping[str, Iterable[Trial]]) -> str:
    """Return the last line."""
    attacks, mutants = rows(ATTACK, trials), rows(MUTANT, trials)
    succeeded = sum(row.has(FAILED) for row in attacks)
    found = sum(not row.has(FAILED) and not row.has(SKIPPED) for row in mutants)
    skipped = sum(row.has(SKIPPED) for row in attacks)
    return f"{len(attacks)} attacks, {succeeded} successful, {skipped} not run; {len(mutants)} mutants, {found} found"


def without_mutant(trials: Mapping[str, Iterable[Trial]]) -> list[str]:
    """Return the controls of attacks that no mutant takes out."""
    removed = {row.control for row in rows(MUTANT, trials)}
    return sorted({row.control for row in rows(ATTACK, trials)} - removed)


def _aligned(lines: list[list[str]]) -> list[str]:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return ["  ".join(word.ljust(width) for word, width in zip(line, widths, strict=True)).rstrip() for line in lines]
