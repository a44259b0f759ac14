"""The documentation: its site builds, its diagrams are current, and a test runs each command."""

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from docs.command import build
from sidecart.launcher.project import root

DOCS = root() / "docs"
PAGES = sorted([*root().glob("*.md"), *(path for path in DOCS.rglob("*.md") if path.parent.name != "adr")])
SHELL = re.compile(r"^ *```sh\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
README_LINES_MAX = 100


def commands(page: Path) -> list[str]:
    """Return the commands of a page's `sh` blocks, without comments, with continued lines joined.

    The tutorials are walked as a whole (tests/full/test_tutorials.py).
    """
    if page.parent.name == "tutorials":
        return []
    text = "".join(SHELL.findall(page.read_text("utf-8"))).replace("\\\n", " ")
    lines = (re.split(r"\s+# ", line)[0] for line in text.splitlines())
    return [" ".join(line.split()) for line in lines if line.strip()]


def run_by() -> dict[str, str]:
    """Return the test or the suite that runs each command, by the command."""
    found: dict[str, str] = tomllib.loads((root() / "tests" / "documented.toml").read_text("utf-8"))["commands"]
    return found


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    """A link that leads nowhere, or a page outside every table of contents, is a warning."""
    assert 0 == build(str(tmp_path))
    assert (tmp_path / "index.html").exists()


def test_the_readme_is_short() -> None:
    """A newcomer reads all of it."""
    assert len((root() / "README.md").read_text("utf-8").splitlines()) <= README_LINES_MAX


@pytest.mark.parametrize("source", sorted(DOCS.rglob("*.mmd")), ids=lambda path: path.stem)
def test_a_diagram_is_drawn_from_its_source(source: Path) -> None:
    """docs/diagrams.py writes the hash of the source into the drawing."""
    expected = hashlib.sha256(source.read_bytes()).hexdigest()

    assert expected in source.with_suffix(".svg").read_text("utf-8").splitlines()[0], f"draw {source} again"


def test_a_test_runs_every_documented_command() -> None:
    """tests/documented.toml names it; a command that no page has any more leaves the file."""
    documented = {command for page in PAGES for command in commands(page)}

    assert [] == sorted(documented - run_by().keys())
    assert [] == sorted(run_by().keys() - documented)


@pytest.mark.parametrize(("command", "test"), run_by().items())
def test_the_named_test_has_the_command(command: str, test: str) -> None:
    """The file contains the command, or the words of it that follow the program's name."""
    file, _, words = test.partition(": ")

    assert (words or command) in (root() / file).read_text("utf-8")
