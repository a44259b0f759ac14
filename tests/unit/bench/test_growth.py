"""Bodies of a wanted size."""

import json

import pytest

from bench.growth import items_of
from gateway.bodies import OrderBody


@pytest.mark.parametrize("kilobytes", [1, 10, 100])
def test_a_body_has_the_wanted_size_and_is_allowed(kilobytes: int) -> None:
    """To the nearest item, by items that an order may have."""
    body = {"user_id": "6fb82b07-609c-505c-8a19-7d4b24b2b381", "items": items_of(kilobytes)}

    assert len(json.dumps(body)) == pytest.approx(kilobytes * 1_000, abs=150)
    assert len(OrderBody.model_validate(body).items) == len(body["items"])
