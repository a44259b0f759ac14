"""The doctor's findings: each names one trap, its place, its effect and the fix."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Severity(StrEnum):
    """The severity of a finding; reports sort by it."""

    DANGER = "danger"
    """Events are lost, or a process does not start."""
    WARNING = "warning"
    """It slows the system down, does harm under some conditions, or weakens security."""
    NOTE = "note"
    """Information; no action is required."""


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file; for a running process, its address and line 0."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    @classmethod
    def of(cls, path: Path, line: int) -> "Place":
        """The place of a line; paths below the working folder are relative to it."""
        here = Path.cwd()
        try:
            resolved = path.resolve()
        except ValueError:
            # No file name has a NUL or a lone surrogate, and terminals must not print one.
            return cls(str(path).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode(), line)
        return cls(str(resolved.relative_to(here) if resolved.is_relative_to(here) else resolved), line)


@dataclass(frozen=True, slots=True)
class Violation:
    """One place that breaks a rule, the effect and the fix; `severity` overrides the rule's."""

    place: Place
    what: str
    fix: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A violation with the name of its rule."""

    rule: str
    severity: Severity
    place: Place
    what: str
    fix: str


_RANKS = {severity: rank for rank, severity in enumerate(Severity)}


def by_severity(findings: "set[Finding] | list[Finding]") -> list[Finding]:
    """Sort by severity, then file and line; report each rule once per place."""

    def rank(each: Finding) -> tuple[int, str, int, str, str]:
        return _RANKS[each.severity], each.place.file, each.place.line, each.rule, each.what

    first: dict[tuple[str, Place], Finding] = {}
    for one in sorted(findings, key=rank):
        first.setdefault((one.rule, one.place), one)
    return list(first.values())
