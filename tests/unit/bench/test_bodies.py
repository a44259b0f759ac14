"""Tests of order bodies with a requested size."""

from pathlib import Path

import msgspec
import pytest

from bench.bodies import ITEM, LARGEST_KB, LONG, SKU_CHARACTERS, WIDE, items_of, price_list
from gateway.commands import ITEMS_MAX, OrderBody
from services.order.events import SKU_CHARACTERS_MAX
from services.order.price_list import read
from sidecart.edge.bodies import BODY_BYTES_MAX


@pytest.mark.parametrize("kilobytes", [1, 5, 10, LARGEST_KB])
def test_a_body_has_the_requested_size_and_is_valid(kilobytes: int) -> None:
    """The body has the requested size to the nearest item, and the gateway accepts it."""
    body = {"user_id": "6fb82b07-609c-505c-8a19-7d4b24b2b381", "items": items_of(kilobytes)}

    sent = msgspec.json.encode(body)
    assert len(sent) == pytest.approx(kilobytes * 1_000, abs=200)
    assert len(sent) <= BODY_BYTES_MAX
    assert len(OrderBody.model_validate_json(sent).items) == len(body["items"])


def test_the_largest_body_is_that_of_the_largest_order() -> None:
    """It has as many items as the gateway accepts, with the longest SKUs; 100 KB are refused."""
    largest = [WIDE] * ITEMS_MAX

    assert SKU_CHARACTERS == SKU_CHARACTERS_MAX
    assert len(msgspec.json.encode(largest)) == pytest.approx(LARGEST_KB * 1_000, rel=0.05)
    assert 100_000 > BODY_BYTES_MAX
    with pytest.raises(ValueError, match="not 100"):
        items_of(100)


def test_the_shop_sells_each_item(tmp_path: Path) -> None:
    """The Order Service reads the list, which has the price of each item."""
    prices = read(price_list(tmp_path)).prices

    assert {each["sku"]: each["unit_price_cents"] for each in (ITEM, LONG, WIDE)} == prices
