"""Orders with bodies of a requested size, and the price list of the shop that sells their items.

The gateway limits an order: 100 items, SKUs of 64 characters, 64 KiB. A body of 100 KB is refused,
so the largest size here is that of the largest order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypedDict

import msgspec

from gateway.commands import ITEMS_MAX


class Item(TypedDict):
    """One item of an order."""

    sku: str
    quantity: int
    unit_price_cents: int


ITEM: Item = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
"""The usual order has one of these."""
SKU_CHARACTERS = 64
"""The most that a SKU has, so that a large body needs few items."""
LONG: Item = {"sku": "x" * SKU_CHARACTERS, "quantity": 2, "unit_price_cents": 450}
WIDE: Item = {"sku": "🫖" * SKU_CHARACTERS, "quantity": 2, "unit_price_cents": 450}
"""A character of four bytes: an item has no more bytes than this one."""
LARGEST_KB = 30
"""The size of the largest order, in thousand bytes: `ITEMS_MAX` times `WIDE`."""


def items_of(kilobytes: int) -> list[Item]:
    """Return as many items as make an order's body of about this many thousand bytes.

    Raises ValueError if that is more than the shop accepts.
    """
    for item in (LONG, WIDE):
        items = [item] * max(1, round(kilobytes * 1_000 / (len(msgspec.json.encode(item)) + 1)))
        if len(items) <= ITEMS_MAX:
            return items
    raise ValueError(f"the largest order has about {LARGEST_KB} KB, not {kilobytes}")


def price_list(folder: Path) -> Path:
    """Write the price list of the benchmark; return its file."""
    products = [
        {"sku": each["sku"], "name": each["sku"], "unit_price_cents": each["unit_price_cents"]}
        for each in (ITEM, LONG, WIDE)
    ]
    file = folder / "price_list.json"
    file.write_text(json.dumps({"version": "bench", "products": products}), encoding="utf-8")
    return file
