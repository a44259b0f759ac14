"""The queries of the shop: each is a GET route that a service answers."""

from gateway.commands import DEPOSITS
from sidecart.edge.declarations import QueryDeclaration

QUERIES = (
    QueryDeclaration("/user/{user_id}", app_id="user", schema="user", owner="user_id"),
    QueryDeclaration("/account/{user_id}", app_id="billing", schema="account", owner="user_id"),
    QueryDeclaration(
        "/account/{user_id}/deposit/{deposit_id}", app_id="billing", schema="deposit", owner="user_id", scope=DEPOSITS
    ),
    QueryDeclaration("/order/{order_id}", app_id="order", schema="order", owner="user_id"),
    QueryDeclaration("/notification/{user_id}", app_id="notification", schema="notifications", owner="user_id"),
    QueryDeclaration("/products", app_id="order", schema="products", is_public=True),
)
