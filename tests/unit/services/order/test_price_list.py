"""The price list is one checked file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.order import price_list, settings
from services.order.price_list import EXAMPLE_PRICES, PriceListError
from sidecart.chassis.settings import SettingError
from tests.contracts.validate import http_problems

TEA = {"sku": "tea", "name": "Tea", "unit_price_cents": 450}


def written(folder: Path, content: object) -> Path:
    """Write a file."""
    file = folder / "prices.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def test_the_list_of_the_demonstration_is_valid() -> None:
    """Its body is that of GET /products."""
    found = price_list.read(price_list.FILE)

    assert 450 == found.prices["tea"]
    assert [] == http_problems("products", msgspec.json.decode(found.body))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "prices.json"),
        ({"version": "1", "products": []}, "length >= 1"),
        ({"version": "1", "products": [TEA, TEA]}, "the SKU tea occurs twice"),
        ({"version": "1", "products": [TEA | {"unit_price_cents": -1}]}, "unit_price_cents"),
        ({"version": "1", "products": [TEA | {"unit_price_cents": 1.5}]}, "unit_price_cents"),
        ({"version": "1", "products": [TEA | {"sku": "a\nb"}]}, "sku"),
        ({"version": "1", "products": [TEA | {"price": 1}]}, "price"),
        ({"products": [TEA]}, "version"),
    ],
)
def test_a_wrong_list_stops_the_start(tmp_path: Path, content: Any, reason: str) -> None:
    """The message names the setting, the file and the field."""
    file = written(tmp_path, content)

    with pytest.raises(PriceListError, match=reason):
        price_list.read(file)
    with pytest.raises(SettingError, match=r"setting PRICE_LIST: .*prices\.json"):
        settings.read({"PRICE_LIST": str(file)})


def test_another_list_is_a_setting(tmp_path: Path) -> None:
    """A shop has its own file."""
    file = written(tmp_path, {"version": "1", "products": [TEA]})

    assert {"tea": 450} == settings.read({"PRICE_LIST": str(file)}).price_list.prices


def test_the_examples_have_a_price_with_the_longest_sku() -> None:
    """The examples of contracts/ stand for any list."""
    assert 64 == max(map(len, EXAMPLE_PRICES))
