"""What the doctor says: one finding is one trap at one place, what it does and how it is mended."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Severity(StrEnum):
    """How bad it is; the order is that of the report."""

    DANGER = "danger"
    """Events are lost, or something does not start."""
    WARNING = "warning"
    """It costs speed, does harm under conditions, or leaves a door open."""
    NOTE = "note"
    """Good to know."""


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line of a file, or the address of something that runs (line 0)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file

    @classmethod
    def of(cls, path: Path, line: int) -> "Place":
        """The file as it is seen from the working folder, if it is below it."""
        here = Path.cwd()
        try:
            resolved = path.resolve()
        except ValueError:  # a NUL or half a character: no file has such a name, and no terminal should get it
            return cls(str(path).replace("\0", "\\0").encode("utf-8", "backslashreplace").decode(), line)
        return cls(str(resolved.relative_to(here) if resolved.is_relative_to(here) else resolved), line)


@dataclass(frozen=True, slots=True)
class Violation:
    """What a rule found: where, what happens, and the fix; a severity of its own if it is not the rule's."""

    place: Place
    what: str
    fix: str
    severity: Severity | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A hit with the name of its rule."""

    rule: str
    severity: Severity
    place: Place
    what: str
    fix: str


_ORDER = list(Severity)


def in_order(findings: "set[Finding] | list[Finding]") -> list[Finding]:
    """The worst first, then by file and line; the same trap at the same place is told once."""
    first: dict[tuple[str, Place], Finding] = {}
    for one in sorted(findings, key=lambda each: (_ORDER.index(each.severity), each.place, each.rule, each.what)):
        first.setdefault((one.rule, one.place), one)
    return list(first.values())
