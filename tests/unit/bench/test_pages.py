"""Tests of the appendix' pages: a run replaces its tables, and nothing else."""

from pathlib import Path

import pytest

from bench.pages import page_of, places, publish
from bench.run import PARTS
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers.registry import BROKERS

PAGE = "# A\n\n<!-- table: run -->\n\nold\n\n<!-- end -->\n\ntext\n\n<!-- table: redis -->\n\n| old |\n\n<!-- end -->\n"
TABLES = {
    "systems": {"goals", *BROKERS},
    "concurrency": {"concurrency"},
    "latency-breakdown": {"latency-breakdown"},
    "growth": {"growth"},
    "experiments": {*BROKERS},
    "monitor": {*BROKERS},
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_has_a_page_with_places_for_its_tables(part: str) -> None:
    """Another name would end a run of an hour without its page."""
    assert {"run", *TABLES[part]} == places(page_of(part))


def test_a_run_replaces_its_tables(tmp_path: Path) -> None:
    """The text and the tables of other brokers stay, and files are copied."""
    (tmp_path / "performance").mkdir()
    (tmp_path / "performance-growth.md").write_text(PAGE)
    (tmp_path / "growth.json").write_text("{}")

    publish("growth", {"run": "Measured \\1."}, [tmp_path / "growth.json"], tmp_path)

    assert (
        PAGE.replace("old\n\n<!-- end -->\n\ntext", "Measured \\1.\n\n<!-- end -->\n\ntext")
        == (tmp_path / "performance-growth.md").read_text()
    )
    assert "{}" == (tmp_path / "performance" / "growth.json").read_text()


def test_a_table_without_a_place_changes_nothing(tmp_path: Path) -> None:
    """The error names the table."""
    (tmp_path / "performance-growth.md").write_text(PAGE)

    with pytest.raises(LaunchError, match="tables rabbitmq"):
        publish("growth", {"redis": "| new |", "rabbitmq": "| new |"}, [], tmp_path)

    assert PAGE == (tmp_path / "performance-growth.md").read_text()
