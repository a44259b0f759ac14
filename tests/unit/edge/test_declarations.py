"""Declarations that contradict themselves end the start with the reason."""

from dataclasses import replace

import pytest

from gateway.app import SHOP
from gateway.commands import ERASURES, ORDER, REGISTER
from sidecart.edge.declarations import CommandDeclaration, QueryDeclaration


@pytest.mark.parametrize(
    ("command", "problem"),
    [
        (
            replace(ORDER, location="/order/{user_id}"),
            "/order/create: the last id of /order/{user_id} must be order_id",
        ),
        (replace(ORDER, location="/orders/{order_id}"), "/order/create: no query reads /orders/{order_id}"),
        (replace(ORDER, requires="cart_id"), "/order/create requires cart_id, which no command creates"),
        (replace(ORDER, identity={}), "/order/create: a command has its owner in identity, or a scope"),
        (replace(ORDER, is_for_any_owner=True), "/order/create: a command has its owner in identity, or a scope"),
    ],
    ids=["last id", "no query", "no creator", "any caller for any owner", "two rules"],
)
def test_a_contradiction_is_named(command: CommandDeclaration, problem: str) -> None:
    """Before anything is served."""
    with pytest.raises(ValueError, match=problem.replace("{", r"\{").replace("}", r"\}")):
        replace(SHOP, commands=(REGISTER, command))


@pytest.mark.parametrize(("owner", "is_public"), [("", False), ("user_id", True)])
def test_a_query_has_an_owner_or_is_public(owner: str, is_public: bool) -> None:
    """A forgotten owner would let every program read the resources of all callers."""
    with pytest.raises(ValueError, match=r"/user/.* either an owner or is_public"):
        QueryDeclaration("/user/{user_id}", app_id="user", schema="user", owner=owner, is_public=is_public)


def test_an_erasure_has_a_query_for_its_path() -> None:
    """The response points to it: it answers 404 at the end."""
    with pytest.raises(ValueError, match="DELETE /person: no query reads this path"):
        replace(SHOP, erasures=(replace(ERASURES[0], path="/person"),))


def test_an_erasure_is_a_command_of_the_application() -> None:
    """Its topic, its reply and its flow are found as those of every other command."""
    [erasure] = SHOP.erasures

    assert erasure in SHOP.all_commands
    assert erasure is SHOP.command_of_reply["UserErased"]
    assert "UserErased" not in SHOP.rejections
    assert ("DELETE /user/{user_id}", 200, ("UserErased",)) == (erasure.call, erasure.success_status, erasure.replies)
