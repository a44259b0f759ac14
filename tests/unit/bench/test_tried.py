"""Variants that do change what they say they change."""

from pathlib import Path

import pytest

from bench.measure import Turn
from bench.patched import PATCHES
from bench.tried import VARIANTS, Tried, Variant, copy_components, table
from cli.project import ROOT
from tests.unit.bench.test_report import turn


@pytest.mark.parametrize("variant", [each for each in VARIANTS if each.metadata], ids=lambda each: each.name)
def test_a_variant_of_the_components_changes_each_of_its_values(variant: Variant, tmp_path: Path) -> None:
    """In a copy; a name that no component has would be no variant."""
    copy_components(tmp_path / "components", variant.metadata)

    changed = {
        line.strip()
        for file in (tmp_path / "components").rglob("*.yaml")
        for line, before in zip(
            file.read_text().splitlines(),
            (ROOT / file.relative_to(tmp_path)).read_text().splitlines(),
            strict=True,
        )
        if line != before
    }

    assert {f'value: "{value}"' for value in variant.metadata.values()} == changed


def test_each_patch_is_tried() -> None:
    """And none that is not there."""
    assert set(PATCHES) == {each.patch for each in VARIANTS if each.patch is not None}


def test_a_row_has_both_and_the_median_of_the_rounds_ratios() -> None:
    """A round in which the machine was slow counts for both."""

    def one(alone: float, held: int, completed: float) -> Turn:
        found = turn(alone, held, completed)
        return Turn(alone=found.alone, levels=found.levels)

    tried = Tried("more", [one(3, 100, 50), one(30, 10, 5)], [one(6, 200, 75), one(60, 20, 7.5)])

    assert "| more | 16.50 -> 33.00 (2.00 x) | 55 -> 110 (2.00 x) | 28 -> 41 (1.50 x) | 1.50 -> 1.50 (1.00 x) |" in (
        table([tried]).splitlines()
    )
