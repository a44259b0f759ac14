"""docs/reference/cli.md describes the commands as they are."""

import pytest

from sidecart.cli.reference import PAGE, reference, with_reference
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root


def test_the_page_is_current() -> None:
    """The block between the markers is generated."""
    page = (root() / PAGE).read_text(encoding="utf-8")

    assert with_reference(page) == page, f"{PAGE}: run `.venv/bin/python -m sidecart.cli.reference --write`"


def test_an_option_has_its_variable_its_default_and_its_meaning() -> None:
    """A bar inside a cell is escaped; a command below a group has a heading of its own."""
    lines = reference().splitlines()

    assert r"| `--broker [redis\|rabbitmq]` | `BROKER` | `redis` | the broker |" in lines
    assert "| `--port PORT` | `PORT` | `8000` | the gateway's port |" in lines
    assert "| `-f, --follow` |  |  | keep printing new lines |" in lines
    assert "### `./sidecart dead-letters`" in lines
    assert "#### `./sidecart dead-letters show`" in lines
    assert [] == [line for line in lines if len(line) > 100 and not line.startswith("|")]


def test_only_the_block_is_replaced() -> None:
    """A page without the markers is an error."""
    page = "before\n<!-- generated: cli -->\nold\n<!-- end -->\nafter\n"

    assert f"before\n<!-- generated: cli -->\n\n{reference()}\n<!-- end -->\nafter\n" == with_reference(page)
    with pytest.raises(LaunchError, match="needs the lines"):
        with_reference("before\n<!-- generated: cli -->\n")
