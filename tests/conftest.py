"""Reports the attacks and the mutants among the tests, for the table of `make attack`."""

from __future__ import annotations

import pytest

from tests.attack_table import ATTACK, CONTROL, GROUP, MUTANT, NAME


def pytest_itemcollected(item: pytest.Item) -> None:
    """Add the words of the markers `attack` and `mutant` to the report (junit XML) of a test.

    A mutant without words has those of the attack beside it.
    """
    mutant, attack = item.get_closest_marker(MUTANT), item.get_closest_marker(ATTACK)
    if (marker := mutant if mutant is not None and mutant.args else attack) is None:
        assert mutant is None, f"{item.nodeid}: the mutant of which attack?"
        return
    assert (3, {}) == (len(marker.args), marker.kwargs), f"{item.nodeid}: group, name, control"
    kind = ATTACK if mutant is None else MUTANT
    item.user_properties += zip((GROUP, NAME, CONTROL), marker.args, strict=True)
    item.user_properties.append(("kind", kind))
