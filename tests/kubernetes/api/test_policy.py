"""A policy scan of the overlays by kube-score."""

from __future__ import annotations

import pytest

from sidecart.kubernetes.kustomizations import OVERLAYS
from tests.kubernetes.api import policy
from tests.kubernetes.api.rendering import overlay_folder, text


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_scan_finds_nothing(overlay: str) -> None:
    """Each object passes each check of kube-score, but for the exceptions with reasons."""
    assert [] == policy.findings(text(overlay_folder(overlay)))


def test_each_exception_excuses_something() -> None:
    """An entry of an old check, or of an object that passes now, would hide a later fault."""
    excused = policy.exceptions()
    found = [each for overlay in OVERLAYS for each in policy.scan(text(overlay_folder(overlay)))]
    expected = {(check, place) for check, places in excused.objects.items() for place in places}

    assert excused.checks.keys() | excused.objects.keys() <= policy.checks()
    assert excused.checks.keys() == {each.check for each in found} & excused.checks.keys()
    assert expected == {(each.check, each.place) for each in found} & expected
