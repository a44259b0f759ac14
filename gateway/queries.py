"""The queries of the shop: each is a GET route that a service answers."""

from gateway.commands import DEPOSITS
from sidecart.edge.declarations import QueryDeclaration
from sidecart.edge.personal_data import ExportDeclaration

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
EXPORTS = (
    ExportDeclaration(
        path="/user/{user_id}/export",
        app_ids=("user", "billing", "notification"),
        location="/export/user/{user_id}",
        resource="user_id",
        schema="export",
    ),
)
