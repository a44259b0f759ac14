"""The commands in the documentation's code blocks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sidecart.launcher.project import root

BLOCK = re.compile(r"^( *)```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"\s+# .*")
WALKED = root() / "docs" / "tutorials"
"""The tutorials: test_tutorials.py runs each step, so their commands need no entry elsewhere."""
HISTORY = (root() / "docs" / "adr", root() / "docs" / "appendix")
"""Decisions and results of earlier versions; their commands need not run today."""


def pages() -> list[Path]:
    """Return the pages whose commands a user runs."""
    found = [root() / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")]
    for folder in ("docs", "examples", "services"):
        found += sorted(path for path in (root() / folder).rglob("*.md") if "node_modules" not in path.parts)
    return [path for path in found if not any(path.is_relative_to(folder) for folder in (WALKED, *HISTORY))]


def blocks(text: str) -> Iterator[str]:
    """Yield each `sh` block of a page."""
    for found in BLOCK.finditer(text):
        yield found[2]


def commands(block: str) -> list[str]:
    """Return the commands of a block, without comments; a continued line belongs to its command."""
    lines = (COMMENT.sub("", line).strip() for line in block.replace("\\\n", " ").splitlines())
    return [re.sub(r"\s+", " ", line) for line in lines if line]


@cache
def documented_commands() -> dict[str, list[str]]:
    """Return every command of the documentation, with the pages that have it."""
    found: dict[str, list[str]] = {}
    for page in pages():
        for block in blocks(page.read_text("utf-8")):
            for command in commands(block):
                found.setdefault(command, []).append(str(page.relative_to(root())))
    return found


def documented(command: str) -> str:
    """Return the command, after checking that the documentation has it."""
    assert command in documented_commands(), f"no page has {command}"
    return command
