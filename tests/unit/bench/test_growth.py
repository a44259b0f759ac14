"""Tests of order bodies with a requested size."""

import json

import pytest

from bench.growth import items_of
from gateway.commands import OrderBody


@pytest.mark.parametrize("kilobytes", [1, 5, 10])
def test_a_body_has_the_requested_size_and_is_valid(kilobytes: int) -> None:
    """The body has the requested size to the nearest item, and the gateway accepts it."""
    body = {"user_id": "6fb82b07-609c-505c-8a19-7d4b24b2b381", "items": items_of(kilobytes)}

    assert len(json.dumps(body)) == pytest.approx(kilobytes * 1_000, abs=150)
    assert len(OrderBody.model_validate(body).items) == len(body["items"])
