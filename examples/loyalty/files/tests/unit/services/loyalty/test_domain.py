"""Each order earns its points once, with any repetition."""

from services.loyalty import domain
from services.loyalty.domain import POINTS_MAX, Earned, Points
from services.loyalty.events import Input, OrderPaid, PointsEarned
from sidecart.chassis.events import Received
from sidecart.chassis.fields import NATURAL_MAX
from tests.unit.services.sample_events import ORDER, USER, received


def paid(amount_cents: int) -> Received[Input]:
    """Return the event of an order with this total."""
    return received(OrderPaid(ORDER, USER, amount_cents))


def test_an_order_earns_a_point_for_each_hundred_cents() -> None:
    """The rest of the division earns nothing."""
    step = domain.step(Points(USER, 5), None, paid(1_299))

    assert Points(USER, 17) == step.state
    assert {f"earned:{ORDER}": Earned(ORDER, USER, 12)} == step.secondaries
    assert (PointsEarned(ORDER, USER, 12),) == step.outputs


def test_a_repeated_event_earns_nothing_and_gives_the_same_output() -> None:
    """The output comes from the secondary record."""
    first = domain.step(None, None, paid(1_200))
    again = domain.step(first.state, first.secondaries[f"earned:{ORDER}"], paid(1_200))

    assert (first.state, first.outputs) == (again.state, again.outputs)
    assert {} == again.secondaries


def test_a_free_order_earns_no_points() -> None:
    """It still has an outcome."""
    step = domain.step(None, None, paid(0))

    assert (Points(USER, 0), (PointsEarned(ORDER, USER, 0),)) == (step.state, step.outputs)


def test_the_total_has_a_limit() -> None:
    """A larger number would lose digits in some JSON parsers."""
    step = domain.step(Points(USER, POINTS_MAX - 1), None, paid(NATURAL_MAX))

    assert Points(USER, POINTS_MAX) == step.state
