"""The benchmark of one delivery."""

import asyncio
import math

import pytest

from bench.deliveries import ASGI, DIRECT, app, deliver, microseconds


@pytest.mark.parametrize("way", [DIRECT, ASGI])
def test_every_delivery_of_the_benchmark_is_answered_200(way: str) -> None:
    """The sender fails at any other response, so no figure is that of refused deliveries."""
    with app(way) as (port, pid):
        asyncio.run(deliver(port, connections=2, deliveries=20))
        assert math.isfinite(microseconds(port, pid, connections=2, deliveries=20))
