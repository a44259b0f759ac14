"""The points of a user: each order earns its points once."""

from dataclasses import dataclass, replace

from services.loyalty.events import Input, Output, PointsEarned
from sidecart.chassis.events import Received
from sidecart.chassis.service import Step

CENTS_PER_POINT = 100
POINTS_MAX = 10**15 - 1
"""The largest total: below 2^53, up to which every JSON parser is exact."""


@dataclass(frozen=True, slots=True)
class Points:
    """The total of a user."""

    user_id: str
    total: int = 0


@dataclass(frozen=True, slots=True)
class Earned:
    """The points that one order earned."""

    order_id: str
    user_id: str
    points: int


State = Points
SECONDARIES = {"earned": Earned}


def key(event: Input) -> str:
    """Return the key of the user's total."""
    return f"points:{event.user_id}"


def secondary_key(event: Input) -> str:
    """Return the key of the order's points."""
    return f"earned:{event.order_id}"


def subject(output: Output) -> str:
    """Return the id of the user whose total changed."""
    return output.user_id


def step(state: Points | None, earned: Earned | None, received: Received[Input]) -> Step[Points]:
    """Add the points of an order once; a repeated event gives the same output."""
    order = received.event
    points = state or Points(order.user_id)
    if earned is not None:
        return Step(points, outputs=(PointsEarned(earned.order_id, earned.user_id, earned.points),))
    earned = Earned(order.order_id, order.user_id, order.amount_cents // CENTS_PER_POINT)
    after = replace(points, total=min(points.total + earned.points, POINTS_MAX))
    output = PointsEarned(earned.order_id, earned.user_id, earned.points)
    return Step(after, {secondary_key(order): earned}, (output,))
