"""Command declarations: for each POST route its command and the events that answer it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandDeclaration:
    """A POST route whose request is held until one of two events arrives."""

    path: str
    command: str
    success: str
    """The event that becomes the 201 response."""
    rejection: str
    """The event that becomes a problem response."""


REGISTER = CommandDeclaration("/user/register", "UserCreateRequested", "UserCreated", "UserCreateRejected")
DEPOSIT = CommandDeclaration(
    "/account/deposit", "AccountDepositRequested", "AccountDeposited", "AccountDepositRejected"
)
ORDER = CommandDeclaration("/order/create", "OrderCreateRequested", "OrderCreated", "OrderCreateRejected")
DECLARATIONS = (REGISTER, DEPOSIT, ORDER)
COMMAND_PATHS = tuple(declaration.path for declaration in DECLARATIONS)
REJECTIONS = frozenset(declaration.rejection for declaration in DECLARATIONS)
