"""Hooks of Schemathesis: generate requests at random, with tokens and without.

By default Schemathesis also searches for accepted requests. That search shrinks orders of a
thousand items, and takes half an hour on two cores for the same number of requests.

Most generated requests name a caller and products that do not exist. So half of the ids become
those of a registered caller and of its order, and half of the products become real ones. Valid
requests stay valid, and invalid ones stay invalid.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import hypothesis
import schemathesis
from schemathesis import AuthContext, Case, HookContext, Response

from services.order import price_list
from shop.acting import acting
from sidecart.edge.bodies import UUID

ISSUER_FOLDER, ORDER_ID, COUNTED = "ISSUER_FOLDER", "ORDER_ID", "COUNTED"
"""Variables of the environment: the keys of the issuer, an order of ANN, and a file for the counts.
"""
ANN, EVE = "ann@example.com", "eve@example.com"
"""Registered callers; ANN has money and an order."""
NONE, WRONG, OTHER, OPERATOR, OWN = "none", "wrong", "another caller's", "an operator's", "the caller's own"
SHARES = {NONE: 0.15, WRONG: 0.25, OTHER: 0.35, OPERATOR: 0.5, OWN: 1.0}
"""The tokens of the requests, each with its share added to those before it."""
HALF = 0.5

tokens = acting(Path(os.environ[ISSUER_FOLDER]))
user_id = tokens.add(ANN)
products = list(price_list.read(price_list.FILE).prices.items())
counted: Counter[str] = Counter()
kind_of: dict[str, str] = {}


def _no_target(observation: float, *, label: str = "") -> float:
    return observation


hypothesis.target = _no_target


def drawn(*values: object) -> float:
    """Return a number from 0 to 1 that depends on these values only: a repetition is the same."""
    return zlib.crc32(repr(values).encode()) / 2**32


@schemathesis.auth(refresh_interval=None)
class Tokens:
    """Chooses the token of each request."""

    def get(self, case: Case[Any], context: AuthContext) -> str:
        """Return the value of the header, or an empty one for a request without a token."""
        draw = drawn(case.method, case.path, case.path_parameters, case.query, dict(case.headers or {}), case.body)
        kind = next(kind for kind, up_to in SHARES.items() if draw < up_to)
        value = _value(kind, case)
        kind_of[value] = kind
        return value

    def set(self, case: Case[Any], data: str, context: AuthContext) -> None:
        """Add the header, or take out a generated one."""
        if data:
            case.headers["Authorization"] = data
        else:
            case.headers.pop("Authorization", None)


def _value(kind: str, case: Case[Any]) -> str:
    if kind == NONE:
        return ""
    if kind == WRONG:
        return "Bearer eyJhbGciOiJub25lIn0.e30."
    if kind == OTHER:
        return f"Bearer {tokens.token(EVE, (), ())}"
    if kind == OPERATOR:
        return f"Bearer {tokens.token('operator@example.com', ('operator',), ())}"
    if case.method == "POST":
        body = case.body if isinstance(case.body, dict) else {}
        named = {"user_id": user_id} if case.path == "/order/create" else {}
        if case.path != "/user/register" or isinstance(body.get("email"), str):
            return tokens.headers(case.path, {**body, **named})["authorization"]
    return f"Bearer {tokens.token(ANN, (), ())}"


@schemathesis.hook
def map_body(context: HookContext, body: Any) -> Any:
    """Name the registered caller and real products in half of the bodies."""
    if not isinstance(body, dict) or drawn(body) < HALF:
        return body
    if _is_id(body.get("user_id")):
        body = body | {"user_id": user_id}
    if isinstance(body.get("items"), list):
        body = body | {"items": [_sold(item) for item in body["items"]]}
    return body


def _sold(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    sku, price = item.get("sku"), item.get("unit_price_cents")
    is_valid = isinstance(sku, str) and sku.isprintable() and 0 < len(sku.strip()) <= len(sku) <= 64
    if not is_valid or not isinstance(price, int) or isinstance(price, bool) or not 0 <= price <= 10**9:
        return item
    sku, price = products[int(drawn(item) * len(products))]
    return item | {"sku": sku, "unit_price_cents": price}


@schemathesis.hook
def map_path_parameters(context: HookContext, path_parameters: dict[str, Any]) -> dict[str, Any]:
    """Name the registered caller, and its order, in half of the paths.

    No generated request erases the caller, which the other requests need.
    """
    if context.operation is not None and context.operation.method.upper() == "DELETE":
        return path_parameters
    known = {"user_id": user_id, "order_id": os.environ[ORDER_ID]}
    return {
        name: known[name] if name in known and _is_id(value) and drawn(path_parameters) < HALF else value
        for name, value in (path_parameters or {}).items()
    }


def _is_id(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(UUID, value) is not None


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    """Count the response by the token of its request."""
    sent = response.request.headers.get("Authorization")
    kind = NONE if sent is None else kind_of.get(str(sent), WRONG)
    counted[f"{kind}: {response.status_code}"] += 1


@atexit.register
def write_counts() -> None:
    """Write the counts for the test."""
    Path(os.environ[COUNTED]).write_text(json.dumps(dict(sorted(counted.items()))), encoding="utf-8")
