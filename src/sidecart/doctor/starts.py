"""How a sidecar starts, whatever file says so: its flags, its environment, its paths."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from sidecart.doctor.dapr_values import number
from sidecart.doctor.findings import Place

LOOPBACK = ("127.", "localhost", "[::1]", "::1")


class Knowledge(StrEnum):
    """How completely the doctor knows an environment."""

    WHOLE = "whole"
    """A file defines all of it: other variables are not set."""
    HERE = "here"
    """It is the doctor's own; a sidecar may start from another one."""
    PART = "part"
    """Part of it cannot be read, so any other variable may be set."""


@dataclass(frozen=True, slots=True)
class Environment:
    """The known environment of a sidecar."""

    variables: Mapping[str, str]
    known: Knowledge = Knowledge.HERE

    def lacks(self, name: str) -> bool:
        """Whether a variable is unset or empty, as far as the doctor knows."""
        return self.known is not Knowledge.PART and not self.variables.get(name)

    @property
    def is_whole(self) -> bool:
        """Whether a missing variable is certainly not set."""
        return self.known is Knowledge.WHOLE


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag's value and its line."""

    value: str
    line: int


@dataclass(frozen=True, slots=True)
class Start:
    """One sidecar as a file starts it: daprd's flag names, and paths on this machine."""

    file: Path
    line: int
    app_id: str
    flags: Mapping[str, tuple[Flag, ...]]
    environment: Environment
    resources: tuple[tuple[Path, int], ...]
    configs: tuple[tuple[Path, int], ...]
    is_reachable: bool
    """Whether other machines can reach a port that it opens on every interface."""
    is_compose: bool

    def flag(self, name: str) -> Flag | None:
        """The flag's last value, or None."""
        return self.flags[name][-1] if self.flags.get(name) else None

    def is_on(self, name: str) -> bool:
        """Whether a boolean flag is on."""
        found = self.flag(name)
        return found is not None and found.value in ("", "true")

    def number(self, name: str, default: int) -> int:
        """The flag as a number, or the default."""
        found = self.flag(name)
        value = None if found is None else number(found.value)
        return default if value is None else value

    def place(self, *flags: str) -> Place:
        """The place of the first of these flags, or of the start itself."""
        found = next((each for each in map(self.flag, flags) if each is not None), None)
        return Place.of(self.file, self.line if found is None else found.line)


def read_env_file(path: Path) -> dict[str, str] | None:
    """The variables of a file of NAME=value lines; None if the file is unreadable."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):  # not UTF-8, or a NUL in the path
        return None
    parts = (line.strip().removeprefix("export ").partition("=") for line in lines if not line.strip().startswith("#"))
    return {name.strip(): value.strip().strip("'\"") for name, equals, value in parts if equals}


def is_loopback(address: str) -> bool:
    """Whether an address is one of the loopback interface."""
    return address.strip().startswith(LOOPBACK)
