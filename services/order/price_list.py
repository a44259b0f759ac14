"""The price list: the products of the shop and their prices, read once from a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from services.order.events import CENTS_MAX, SKU_CHARACTERS_MAX
from sidecart.chassis.fields import LINE

FILE = Path(__file__).with_name("price_list.json")
"""The list of the demonstration."""
PRODUCTS_MAX = 1_000
"""The answer of `GET /products` has all of them: about 100 KB."""

EXAMPLE_PRICES: Mapping[str, int] = {
    **dict.fromkeys(("mug-blue", "mug-red"), 1250),
    "teapot": 4999,
    "sample": 0,
    "piano": 10**9,
    "tea": 450,
    "Ünïcode-茶壺-🫖-Ünïcode-茶壺-🫖-Ünïcode-茶壺-🫖-Ünïcode-茶壺-🫖-Ünïcode-茶壺-🫖": 99_999_999,
    "x": 1,
    "ruban d’été": 0,  # noqa: RUF001 - a typographic apostrophe is a character as any other
}
"""The prices of the examples in contracts/, with the longest SKU and the highest price."""


class Product(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """One product and its price."""

    sku: Annotated[str, Meta(min_length=1, max_length=SKU_CHARACTERS_MAX, pattern=LINE)]
    name: Annotated[str, Meta(min_length=1, max_length=200, pattern=LINE)]
    unit_price_cents: Annotated[int, Meta(ge=0, le=CENTS_MAX)]


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    version: Annotated[str, Meta(min_length=1, max_length=64, pattern=LINE)]
    products: Annotated[tuple[Product, ...], Meta(min_length=1, max_length=PRODUCTS_MAX)]


class PriceListError(ValueError):
    """The file is not a price list; the message names the file and the reason."""


@dataclass(frozen=True, slots=True)
class PriceList:
    """The prices in cents by SKU, and the body of `GET /products`."""

    prices: Mapping[str, int]
    body: bytes


def read(file: Path) -> PriceList:
    """Read a price list; raise PriceListError."""
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_File)
    except (OSError, msgspec.DecodeError) as error:
        raise PriceListError(f"{file}: {error}") from error
    prices = {product.sku: product.unit_price_cents for product in found.products}
    if len(prices) < len(found.products):
        skus = [product.sku for product in found.products]
        raise PriceListError(f"{file}: the SKU {next(sku for sku in skus if skus.count(sku) > 1)} occurs twice")
    return PriceList(prices, msgspec.json.encode(found))
