"""The held calls: which command each publishes, and which events answer it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """A POST that is held until one of two events comes back."""

    path: str
    command: str
    made: str
    """The event that is its 201."""
    rejected: str
    """The event that is its problem."""


REGISTER = Call("/user/register", "UserCreateRequested", "UserCreated", "UserCreateRejected")
DEPOSIT = Call("/account/deposit", "AccountDepositRequested", "AccountDeposited", "AccountDepositRejected")
ORDER = Call("/order/create", "OrderCreateRequested", "OrderCreated", "OrderCreateRejected")
CALLS = (REGISTER, DEPOSIT, ORDER)
POST_PATHS = tuple(call.path for call in CALLS)
REJECTIONS = frozenset(call.rejected for call in CALLS)
