"""The ids of keys derive from a shared secret, and a repeated key survives its rotation."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from sidecart.edge.command import _version7
from sidecart.edge.key_secrets import KEY, MARGIN, OVERLAP, KeySecrets, RotationUnderWay
from sidecart.edge.problems import Problem
from tests.unit.edge.fakes import FakeSidecar

START = datetime(2026, 1, 1, tzinfo=UTC)
USE = ("/things", "ann")


class Gateway:
    """One gateway with its own clock, on a store that others share."""

    def __init__(self, sidecar: FakeSidecar) -> None:
        self.now = START
        self.sidecar = sidecar
        self.secrets = KeySecrets(sidecar, lambda: self.now)

    def at(self, since: timedelta) -> Gateway:
        """Set the clock, and read the secrets as the gateway does from time to time."""
        self.now = START + since
        asyncio.run(self.secrets.load())
        return self

    def id_of(self, key: str) -> str:
        """Return the id of a request."""
        return asyncio.run(self.secrets.resource_id(*USE, key))


def gateways() -> tuple[Gateway, Gateway]:
    """Return two gateways on one store."""
    one = FakeSidecar()
    return Gateway(one), Gateway(FakeSidecar(one.records))


def rotated() -> tuple[Gateway, Gateway, str]:
    """Return two gateways at the begin of a rotation, and the id of `k` before it."""
    one, two = gateways()
    before = one.at(timedelta()).id_of("k")
    asyncio.run(one.secrets.rotate())
    two.at(timedelta())
    return one, two, before


def test_all_gateways_share_the_secret_of_the_store() -> None:
    """The first one creates it; another store has another secret."""
    one, two = (each.at(timedelta()) for each in gateways())

    assert one.id_of("k") == two.id_of("k") != one.id_of("l")
    assert one.id_of("k") != Gateway(FakeSidecar()).at(timedelta()).id_of("k")
    assert 64 == len(one.sidecar.read(KEY)["current"])


def test_nothing_is_derived_before_the_secret_is_known() -> None:
    """The request gets a 503 instead of an id of its own."""
    with pytest.raises(Problem) as refused:
        Gateway(FakeSidecar()).id_of("k")

    assert 503 == refused.value.status


DAY = timedelta(days=1)


@pytest.mark.parametrize("first", [timedelta(), DAY, 7 * DAY, OVERLAP - timedelta(minutes=30)])
@pytest.mark.parametrize("later", [timedelta(seconds=1), MARGIN, 3 * DAY, 7 * DAY])
def test_a_key_leads_to_the_same_resource_for_seven_days(first: timedelta, later: timedelta) -> None:
    """Whenever the first request comes, and at whichever gateway the repetition."""
    one, two, _ = rotated()

    made = one.at(first).id_of("new")

    assert made == two.at(first + later).id_of("new")


def test_a_key_of_before_the_rotation_is_valid_in_both_phases_and_then_forgotten() -> None:
    """It is claimed by its first repetition; the old secret is not used for ever."""
    one, two, before = rotated()

    assert before == one.at(6 * DAY).id_of("k")
    assert before == two.at(OVERLAP + 5 * DAY).id_of("k")
    assert before != one.at(2 * OVERLAP + DAY).id_of("k")


def test_new_keys_get_the_new_secret_in_the_second_phase_and_keep_it() -> None:
    """The id is that of the third phase too."""
    one, two, _ = rotated()

    made = one.at(OVERLAP + 2 * MARGIN).id_of("late")

    assert made == two.at(OVERLAP + 6 * DAY).id_of("late") == one.at(3 * OVERLAP).id_of("late")


@pytest.mark.parametrize("skew", [timedelta(minutes=-50), timedelta(minutes=50)])
def test_two_gateways_whose_clocks_differ_agree_around_the_second_phase(skew: timedelta) -> None:
    """The first claim wins."""
    one, two, _ = rotated()

    made = one.at(OVERLAP + skew / 2).id_of("edge")

    assert made == two.at(OVERLAP - skew / 2).id_of("edge")
    assert made == two.at(OVERLAP + 6 * DAY).id_of("edge")


def test_a_generated_key_needs_no_claim_because_it_has_its_time() -> None:
    """Its id is the same in every phase in which both secrets are used."""
    one, two, _ = rotated()

    def generated(at: datetime) -> str:
        return f"sidecart-{_version7(int(at.timestamp() * 1000), 7)}"

    early, late = generated(START + 6 * DAY), generated(START + OVERLAP + 6 * DAY)
    made = one.at(6 * DAY).id_of(early)
    claims = [key for key in one.sidecar.records if key.startswith("key-claim:")]

    assert [] == claims
    assert made == two.at(OVERLAP + 5 * DAY).id_of(early)
    assert one.at(OVERLAP + 6 * DAY).id_of(late) == two.at(3 * OVERLAP).id_of(late)
    assert 7 == uuid.UUID(made).version


def test_only_one_rotation_at_a_time() -> None:
    """Three secrets would need two kinds of claims."""
    one, two, _ = rotated()
    with pytest.raises(RotationUnderWay, match="ends at 2026-01-15"):
        asyncio.run(two.at(OVERLAP).secrets.rotate())

    ended = one.at(2 * OVERLAP + DAY)
    asyncio.run(ended.secrets.rotate())

    assert START + 2 * OVERLAP + DAY == ended.secrets._secrets.rotated_at  # type: ignore[union-attr]  # it is loaded


def test_without_the_store_a_key_is_not_used_in_a_rotation() -> None:
    """Without a claim the repetition could lead to another resource."""
    one, _, _ = rotated()
    one.at(DAY).sidecar.store_is_down = True

    with pytest.raises(Problem, match="nothing was sent"):
        one.id_of("k")


def test_a_gateway_learns_of_a_rotation_and_survives_an_outage() -> None:
    """The old secret stays in use until the new one is read."""
    one, two = (each.at(timedelta()) for each in gateways())
    before = two.id_of("k")
    asyncio.run(one.secrets.rotate())
    two.sidecar.store_is_down = True

    assert before == two.id_of("k")
