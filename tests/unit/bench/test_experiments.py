"""Tests of the bench variants: each makes the change that its name states."""

from collections import defaultdict
from pathlib import Path

import pytest

from bench.components import copied
from bench.experiments import VARIANTS, Experiment, Variant, _changed, _unchanged, named, table
from bench.measure import Turn
from bench.patched import HTTP_ONLY, PATCHES
from sidecart.chassis.settings import HTTP, SIDECAR_API
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from tests.unit.bench.test_report import turn


@pytest.mark.parametrize("variant", [each for each in VARIANTS if each.metadata], ids=lambda each: each.name)
def test_a_variant_of_the_components_changes_each_of_its_values(variant: Variant, tmp_path: Path) -> None:
    """A variant of the components changes each of its values in every component that carries
    events.
    """
    broker = "rabbitmq" if "prefetchCount" in variant.metadata else "redis"
    assert copied(tmp_path / "components", broker, variant.metadata)

    changed = defaultdict(set)
    for name in ("inbox", "replies"):
        file = Path("components") / "brokers" / broker / f"{name}.yaml"
        pairs = zip((root() / file).read_text().splitlines(), (tmp_path / file).read_text().splitlines(), strict=True)
        changed[name] = {after.strip() for before, after in pairs if after != before}

    assert {f'value: "{value}"' for value in variant.metadata.values()} == changed["inbox"] == changed["replies"]


def test_variants_are_found_by_words_in_their_names() -> None:
    """Without words all are found; words that no name has are an error that lists the names."""
    assert [SIDECAR_API] == [name for each in named("grpc") for name in each.settings]
    assert list(VARIANTS) == named("")
    with pytest.raises(LaunchError, match="prefetchCount 128"):
        named("no such words")


def test_each_patch_has_a_variant() -> None:
    """Every patch belongs to a variant, and every variant's patch exists."""
    assert set(PATCHES) == {each.patch for each in VARIANTS if each.patch is not None}


@pytest.mark.parametrize("patch", sorted(HTTP_ONLY))
def test_both_shops_of_a_patch_of_the_http_client_use_http(patch: str, tmp_path: Path) -> None:
    """The patch refuses another API, and the comparison would then be one of the two APIs."""
    [variant] = [each for each in VARIANTS if each.patch == patch]
    changed = _changed(variant, "redis", tmp_path)

    assert changed is not None
    assert HTTP == changed.env[SIDECAR_API] == _unchanged(variant, "redis", tmp_path).env[SIDECAR_API]


def test_a_row_has_both_values_and_the_median_ratio_of_the_rounds() -> None:
    """The ratio is the median of the per-round ratios, so a slow round affects both shops alike."""

    def one(alone: float, held: int, completed: float) -> Turn:
        found = turn(alone, held, completed)
        return Turn(alone=found.alone, levels=found.levels)

    experiment = Experiment("more", [one(3, 100, 50), one(30, 10, 5)], [one(6, 200, 75), one(60, 20, 7.5)])

    assert "| more | 16.50 -> 33.00 (2.00 x) | 55 -> 110 (2.00 x) | 28 -> 41 (1.50 x) | 1.50 -> 1.50 (1.00 x) |" in (
        table("redis", [experiment]).splitlines()
    )
    assert {201: 4 * 10 + 330} == experiment.statuses
