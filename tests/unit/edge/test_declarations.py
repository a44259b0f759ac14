"""Declarations that contradict themselves end the start with the reason."""

from dataclasses import replace

import pytest

from gateway.app import SHOP
from gateway.commands import ORDER, REGISTER
from sidecart.edge.declarations import CommandDeclaration


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (
            replace(ORDER, location="/order/{user_id}"),
            "/order/create: the last id of /order/{user_id} must be order_id",
        ),
        (replace(ORDER, location="/orders/{order_id}"), "/order/create: no query reads /orders/{order_id}"),
        (replace(ORDER, requires="cart_id"), "/order/create requires cart_id, which no command creates"),
    ],
    ids=["last id", "no query", "no creator"],
)
def test_a_contradiction_is_named(command: CommandDeclaration, problem: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match=problem.replace("{", r"\{").replace("}", r"\}")):
        replace(SHOP, commands=(REGISTER, command))
