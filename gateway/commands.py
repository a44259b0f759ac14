"""The commands of the shop: each is a POST route that is held until an event answers it."""

from __future__ import annotations

from typing import Annotated

import msgspec
from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, Field, model_validator

from sidecart.edge.bodies import PRINTABLE, Id, Printable, Strict
from sidecart.edge.declarations import CommandDeclaration, FlowDeclaration
from sidecart.edge.personal_data import ErasureDeclaration

CENTS_MAX = 10**12 - 1
DEPOSITS = "deposits"
"""The scope of a payment provider's token: only it pays money in."""
ITEMS_MAX = 100
"""Items of an order: each is stored six times (docs/adr/0059-stored-bytes-are-bounded.md)."""
KEY_REUSED = {"key_reused": (422, "this Idempotency-Key was used with another body; choose a new key")}


def _address(text: str) -> str:
    """Return the address in ASCII, with an international domain in its xn-- form.

    Every mail server accepts this form. Raise ValueError for an invalid address.
    """
    try:
        checked = validate_email(text, check_deliverability=False, allow_smtputf8=False, strict=True)
    except EmailNotValidError as error:
        raise ValueError(str(error)) from error
    return checked.ascii_email or checked.normalized


class RegisterBody(Strict):
    """The body of POST /user/register."""

    email: Annotated[
        str, Field(min_length=3, max_length=254, json_schema_extra={"format": "email"}), AfterValidator(_address)
    ]
    name: Annotated[str, Field(min_length=1, max_length=200, json_schema_extra=PRINTABLE), Printable]


class DepositBody(Strict):
    """The body of POST /account/deposit."""

    user_id: Id
    amount_cents: Annotated[int, Field(ge=1, le=CENTS_MAX)]


class Item(Strict):
    """One line of an order: a SKU, a quantity and a unit price."""

    sku: Annotated[str, Field(min_length=1, max_length=64, json_schema_extra=PRINTABLE), Printable]
    quantity: Annotated[int, Field(ge=1, le=10_000)]
    unit_price_cents: Annotated[int, Field(ge=0, le=10**9)]


class OrderBody(Strict):
    """The body of POST /order/create."""

    user_id: Id
    items: Annotated[list[Item], Field(min_length=1, max_length=ITEMS_MAX)]

    @model_validator(mode="after")
    def _total(self) -> OrderBody:
        if sum(item.quantity * item.unit_price_cents for item in self.items) > CENTS_MAX:
            raise ValueError(f"the total of the order must be at most {CENTS_MAX} cents")
        return self


class EraseBody(Strict):
    """The data of UserEraseRequested besides the id; DELETE /user/{user_id} has no body."""

    address_hash: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class ErasedAnswer(msgspec.Struct, frozen=True):
    """The 200 response: the id of the erased user, from UserErased."""

    user_id: str
    status: str = "erased"


class UserAnswer(msgspec.Struct, frozen=True):
    """The 201 response: the user, from UserCreated."""

    user_id: str
    email: str
    name: str


class DepositAnswer(msgspec.Struct, frozen=True):
    """The 201 response: the deposit and the balance after it, from AccountDeposited."""

    deposit_id: str
    user_id: str
    balance_cents: int


class OrderAnswer(msgspec.Struct, frozen=True):
    """The 201 response: the order, from OrderCreated. Its payment is pending."""

    order_id: str
    user_id: str
    items: msgspec.Raw
    amount_cents: int
    status: str = "payment_pending"


class _Status(msgspec.Struct):
    status: str = ""


def _is_payment_pending(order: bytes) -> bool:
    return msgspec.json.decode(order, type=_Status).status == "payment_pending"


REGISTER = CommandDeclaration(
    path="/user/register",
    summary="Register a user: 201 when created, 202 when pending, 409 when the address is taken.",
    body=RegisterBody,
    topic="UserCreateRequested",
    resource="user_id",
    owner="email",
    identity={"email": "email"},
    is_caller=True,
    location="/user/{user_id}",
    success="UserCreated",
    answer=UserAnswer,
    answer_schema="user",
    rejection="UserCreateRejected",
    problems={
        "key_reused": (422, "this user, or this Idempotency-Key, registered with another body; GET the user to see it"),
        "email_taken": (409, "another user has this e-mail address"),
        "erased": (409, "this user was erased; register with another account of the token issuer"),
    },
    flow=FlowDeclaration("user", owner="user", ends_at=("billing", "notification")),
)
DEPOSIT = CommandDeclaration(
    path="/account/deposit",
    summary="Pay money in: 201 with the new balance, 202 when pending, 404 for an unknown user.",
    body=DepositBody,
    topic="AccountDepositRequested",
    resource="deposit_id",
    owner="user_id",
    scope=DEPOSITS,
    location="/account/{user_id}/deposit/{deposit_id}",
    requires="user_id",
    success="AccountDeposited",
    answer=DepositAnswer,
    answer_schema="deposit_made",
    rejection="AccountDepositRejected",
    problems=KEY_REUSED | {"balance_limit": (409, f"the balance would exceed the limit of {CENTS_MAX} cents")},
)
ORDER = CommandDeclaration(
    path="/order/create",
    summary="Place an order: 201 when created, 202 when pending, 404 for an unknown user.",
    body=OrderBody,
    topic="OrderCreateRequested",
    resource="order_id",
    owner="user_id",
    identity={"user_id": "id"},
    location="/order/{order_id}",
    requires="user_id",
    success="OrderCreated",
    answer=OrderAnswer,
    answer_schema="order",
    rejection="OrderCreateRejected",
    problems=KEY_REUSED
    | {
        "unknown_product": (422, "the shop does not have one of the products; GET /products lists them"),
        "price_changed": (409, "the price of a product has changed; GET /products lists the prices"),
    },
    flow=FlowDeclaration("order", owner="order", ends_at=("notification",), is_pending=_is_payment_pending),
)
COMMANDS = (REGISTER, DEPOSIT, ORDER)
ERASURES = (
    ErasureDeclaration(
        path="/user/{user_id}",
        summary="Erase a user: 200 when erased, 202 when pending, 404 for an unknown user.",
        app_id="user",
        location="/erasure/{user_id}",
        body=EraseBody,
        topic="UserEraseRequested",
        resource="user_id",
        success="UserErased",
        answer=ErasedAnswer,
        answer_schema="erased",
        flow=FlowDeclaration("erasure", owner="user", ends_at=("billing", "notification")),
    ),
)
"""Erasures: each is a DELETE route that is held until an event answers it."""
