"""The events that the Loyalty Service consumes and publishes."""

from dataclasses import dataclass

from sidecart.chassis.fields import Natural, Uuid


@dataclass(frozen=True, slots=True)
class OrderPaid:
    """An order is paid, so it earns points."""

    order_id: Uuid
    user_id: Uuid
    amount_cents: Natural


@dataclass(frozen=True, slots=True)
class PointsEarned:
    """A user earned points with an order."""

    order_id: str
    user_id: str
    points: int


Input = OrderPaid
Output = PointsEarned
INPUTS: dict[str, type[Input]] = {"OrderPaid": OrderPaid}
