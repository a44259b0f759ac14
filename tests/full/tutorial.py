"""Reads a tutorial as a user walks it: the files to change or create, the commands, their output.

A code block belongs to the line of text above it:

    In `path`:        a ```diff block; a line begins with " ", "-" or "+", and `@@` separates parts
    Create `path`:    a block with the whole new file
    (any text)        a ```console block: `$ command` lines, each with the output that follows
    (any text)        a ```sh block: a command that keeps running in a terminal of its own

In an output, a line `...` stands for any lines, and `...` within a line for any text.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PLACE = re.compile(r"(In|Create)\s+`([^`]+)`[^`\n]*:\s*\Z")
PROMPT = "$ "
ANY_TEXT, ANY_LINES = re.escape("..."), "(?:.*\n)*?"


@dataclass(frozen=True, slots=True)
class Change:
    """An edit of an existing file: each part replaces text that the file contains once."""

    file: str
    parts: tuple[tuple[str, str], ...]

    def apply(self, folder: Path) -> None:
        """Change the file; fail if it does not contain the old text exactly once."""
        path = folder / self.file
        text = path.read_text("utf-8")
        for old, new in self.parts:
            assert 1 == text.count(old), f"{self.file} has {text.count(old)} times:\n{old}"
            text = text.replace(old, new)
        path.write_text(text, "utf-8")


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to create."""

    file: str
    text: str

    def apply(self, folder: Path) -> None:
        """Write the file; fail if it exists."""
        path = folder / self.file
        assert not path.exists(), f"{self.file} exists"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text, "utf-8")


@dataclass(frozen=True, slots=True)
class Call:
    """A command and its output."""

    command: str
    expected: str

    def run(self, folder: Path, **environment: str) -> str:
        """Run the command in bash and return its output, stderr included."""
        done = subprocess.run(
            ["bash", "-c", self.command],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            env={**os.environ, **environment},
        )
        return done.stdout

    def differs(self, output: str) -> str:
        """Return an explanation if the output is not the expected one, else an empty text."""
        if re.fullmatch(self._pattern(), _trimmed(output)):
            return ""
        return f"$ {self.command}\n--- the tutorial says:\n{self.expected}--- the command printed:\n{output}"

    def _pattern(self) -> str:
        lines = _trimmed(self.expected).splitlines(keepends=True)
        return "".join(ANY_LINES if line == "...\n" else re.escape(line).replace(ANY_TEXT, ".*") for line in lines)


@dataclass(frozen=True, slots=True)
class Server:
    """A command that keeps running while the later calls are made."""

    command: str


Step = Change | NewFile | Call | Server


def read_steps(tutorial: Path) -> list[Step]:
    """Return the steps of a tutorial in sequence; fail for a block that belongs to no text."""
    text = tutorial.read_text("utf-8")
    return [step for match in BLOCK.finditer(text) for step in _steps(match, text[: match.start()])]


def _steps(block: re.Match[str], before: str) -> Iterator[Step]:
    language, content = block.groups()
    place = PLACE.search(before)
    if language == "console":
        yield from _calls(content)
    elif language == "sh":
        yield Server(content.strip())
    elif place is None:
        raise AssertionError(f"no line `In ...:` or `Create ...:` above this block:\n{content}")
    elif place[1] == "In":
        assert language == "diff", f"the change of {place[2]} must be a diff"
        yield Change(place[2], tuple(_part(part) for part in re.split(r"^@@\n", content, flags=re.MULTILINE)))
    else:
        yield NewFile(place[2], content)


def _part(text: str) -> tuple[str, str]:
    """Return the old and the new text of one part of a diff."""
    lines = [line if line.strip() else " \n" for line in text.splitlines(keepends=True)]
    assert all(line[0] in " -+" for line in lines), text
    old = "".join(line[1:] for line in lines if line[0] in " -")
    assert old, f"a part of a diff needs a line of the old file:\n{text}"
    return old, "".join(line[1:] for line in lines if line[0] in " +")


def _calls(content: str) -> Iterator[Call]:
    command, output = "", ""
    for line in content.splitlines(keepends=True):
        if line.startswith(PROMPT):
            if command:
                yield Call(command, output)
            command, output = line.removeprefix(PROMPT).rstrip("\n"), ""
        elif command.endswith("\\"):
            command = f"{command}\n{line.rstrip()}"
        else:
            output += line
    assert command, f"a console block begins with `$ `:\n{content}"
    yield Call(command, output)


def _trimmed(text: str) -> str:
    """Return a text without trailing blanks, with one line end at its end."""
    lines = [line.rstrip() for line in text.splitlines()]
    return "".join(f"{line}\n" for line in lines).strip("\n") + "\n"
