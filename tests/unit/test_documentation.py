"""The documentation: its site builds, its diagrams are current, and the README is short."""

import hashlib
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from bench.pages import PLACE
from docs import appendices
from docs.command import build
from sidecart.cli.group import group
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root

DOCS = root() / "docs"
README_LINES_MAX = 100


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """A link that leads nowhere, or a page outside every table of contents, is a warning."""
    assert 0 == build(str(tmp_path))
    assert (tmp_path / "index.html").exists()


def test_a_busy_port_is_reported_before_the_build() -> None:
    """The message says how to choose another one."""
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with pytest.raises(LaunchError, match=f"port {port} is busy: choose another one with --port"):
            group.main(["docs", "--port", str(port)], standalone_mode=False)


def test_the_readme_is_short() -> None:
    """A newcomer reads all of it."""
    assert len((root() / "README.md").read_text("utf-8").splitlines()) <= README_LINES_MAX


@pytest.mark.parametrize("source", sorted(DOCS.rglob("*.mmd")), ids=lambda path: path.stem)
def test_a_diagram_is_drawn_from_its_source(source: Path) -> None:
    """docs/diagrams.py writes the hash of the source into the drawing."""
    expected = hashlib.sha256(source.read_bytes()).hexdigest()

    assert expected in source.with_suffix(".svg").read_text("utf-8").splitlines()[0], f"draw {source} again"


def mentioned() -> Iterator[tuple[str, str]]:
    """Yield each page with each command in its code: `make ...` or `./sidecart ...`."""
    pages = [
        root() / "README.md",
        root() / "CONTRIBUTING.md",
        root() / "SECURITY.md",
        *DOCS.rglob("*.md"),
        *root().glob("*/*/README.md"),
    ]
    for page in pages:
        if page.parent.name != "adr":
            for code in re.findall(r"```.*?```|`[^`]+`", page.read_text("utf-8"), re.DOTALL):
                for found in re.finditer(r"(?<![^\s`])(make|\./sidecart) ([a-z][^`\n|;&#]*)", code):
                    yield str(page.relative_to(root())), f"{found[1]} {' '.join(found[2].split())}"


def unknown_word(command: str) -> str | None:
    """Return the first word of a command that its parser does not know; None if it knows all."""
    program, *words = command.split()
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", (root() / "Makefile").read_text("utf-8"), re.MULTILINE)
        return None if words[0] in targets else words[0]
    here: click.Command = group
    for word in words:
        if word.startswith("-"):
            if not any(word.partition("=")[0] in param.opts for param in here.params) and word not in ("--help", "-h"):
                return word
        elif isinstance(here, click.Group):
            found = here.get_command(click.Context(here), word)
            if found is None:
                return word
            here = found
    return None


def test_the_pages_mention_only_commands_that_exist() -> None:
    """Each target, command and option in their code exists."""
    wrong = {(page, command) for page, command in mentioned() if unknown_word(command) is not None}

    assert set() == wrong
    assert {"make run", "./sidecart status"} <= {command for _, command in mentioned()}
    assert "--nothing" == unknown_word("./sidecart run --nothing")
    assert "nothing" == unknown_word("./sidecart dead-letters nothing")
    assert "nothing" == unknown_word("make nothing")


def test_the_tables_of_fault_runs_are_made_of_their_reports() -> None:
    """docs/appendices.py writes them into the page; each table has its place."""
    pages = [path.read_text("utf-8") for path in appendices.PAGES]

    for page in pages:
        assert page == appendices.filled(page), "run `.venv/bin/python -m docs.appendices`"
    places = [name for page in pages for _, name, _ in PLACE.findall(page)]
    assert appendices.tables().keys() == set(places)
    assert len(places) == sum(page.count("<!-- table: ") for page in pages)
