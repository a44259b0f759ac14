"""Command declarations: which command each publishes, and which events answer it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandDeclaration:
    """A POST that is held until one of two events comes back."""

    path: str
    command: str
    success: str
    """The event that is its 201."""
    rejection: str
    """The event that is its problem."""


REGISTER = CommandDeclaration("/user/register", "UserCreateRequested", "UserCreated", "UserCreateRejected")
DEPOSIT = CommandDeclaration(
    "/account/deposit", "AccountDepositRequested", "AccountDeposited", "AccountDepositRejected"
)
ORDER = CommandDeclaration("/order/create", "OrderCreateRequested", "OrderCreated", "OrderCreateRejected")
DECLARATIONS = (REGISTER, DEPOSIT, ORDER)
COMMAND_PATHS = tuple(declaration.path for declaration in DECLARATIONS)
REJECTIONS = frozenset(declaration.rejection for declaration in DECLARATIONS)
