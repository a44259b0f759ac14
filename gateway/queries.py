"""The queries of the shop: each is a GET route that a service answers."""

from sidecart.edge.declarations import QueryDeclaration

QUERIES = (
    QueryDeclaration("/user/{user_id}", app_id="user", schema="user"),
    QueryDeclaration("/account/{user_id}", app_id="billing", schema="account"),
    QueryDeclaration("/account/{user_id}/deposit/{deposit_id}", app_id="billing", schema="deposit"),
    QueryDeclaration("/order/{order_id}", app_id="order", schema="order"),
    QueryDeclaration("/notification/{user_id}", app_id="notification", schema="notifications"),
)
