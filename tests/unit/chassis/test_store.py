"""`update`: one value is changed by its ETag, while other processes write it too."""

import asyncio

import pytest

from sidecart.chassis import store as module
from sidecart.chassis.errors import TransientError
from sidecart.chassis.store import ABSENT, update
from tests.unit.chassis.fakes import FakeSidecar


def append(value: bytes | None) -> tuple[bytes | None, int]:
    """Append an exclamation mark; the result is the new length."""
    changed = (value or b"") + b"!"
    return changed, len(changed)


def test_a_lost_race_is_repeated_with_the_value_of_the_winner() -> None:
    """The change sees what the other process wrote."""
    sidecar = FakeSidecar()
    sidecar.before[2] = lambda: sidecar.put("key", b"theirs")

    assert 7 == asyncio.run(update(sidecar, "key", append))
    assert b"theirs!" == sidecar.records["key"][0]
    assert ["load key", "save key", "load key", "save key"] == sidecar.calls


def test_a_change_that_returns_none_writes_nothing() -> None:
    """`update` returns the result all the same."""
    sidecar = FakeSidecar()

    assert "as it is" == asyncio.run(update(sidecar, "key", lambda _: (None, "as it is")))
    assert ["load key"] == sidecar.calls


@pytest.mark.parametrize("is_absent", [True, False])
def test_a_value_that_the_caller_knows_costs_no_load(is_absent: bool) -> None:
    """The save verifies it; after a lost race the value is loaded."""
    sidecar = FakeSidecar()
    if not is_absent:
        sidecar.put("key", b"theirs")

    length = asyncio.run(update(sidecar, "key", append, loaded=ABSENT))

    assert (1 if is_absent else 7) == length
    assert ["save key"] + ([] if is_absent else ["load key", "save key"]) == sidecar.calls


def test_races_that_are_always_lost_are_a_transient_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller retries later."""
    monkeypatch.setattr(module, "ATTEMPTS_MAX", 2)
    sidecar = FakeSidecar()
    for number in (2, 4):
        sidecar.before[number] = lambda: sidecar.put("key", b"theirs")

    with pytest.raises(TransientError, match="key: lost 2 races"):
        asyncio.run(update(sidecar, "key", append))
