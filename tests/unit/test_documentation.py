"""The documentation: its site builds, its diagrams are current, and the README is short."""

import hashlib
from pathlib import Path

import pytest

from docs.command import build
from sidecart.launcher.project import root

DOCS = root() / "docs"
README_LINES_MAX = 100


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
