"""The suite on the baseline (bench/baseline), with SHOP=baseline: the same shop without sidecars.

Tests marked `sidecars` or `own_shop` do not run there.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx
import valkey
from faststream.redis import BinaryMessageFormatV1

from bench.baseline.broker import connect
from bench.baseline.shop import BaselineShop
from sidecart.launcher.lifecycle.system import System
from sidecart.testkit.tap import Tap
from tests.e2e.broker_tap import BrokerTap
from tests.e2e.shopper import Shopper

FIELD = b"__data__"  # the field of a stream entry in which FastStream stores its message


def _body_of(fields: dict[bytes, bytes]) -> bytes:
    body, _ = BinaryMessageFormatV1.parse(fields[FIELD])
    return body


class BaselineTap(BrokerTap):
    """Records every event that passes the baseline's broker; a context manager inside that of its
    shop.
    """

    def __init__(self, shop: BaselineShop) -> None:
        super().__init__(shop.kind, lambda: shop.broker_url, _body_of)
        self._shop = shop

    def publish(self, topic: str, body: bytes) -> int:
        """Publish like an app; return 204, as a sidecar does."""

        async def publish() -> None:
            broker = connect(self._shop.kind, self._shop.broker_url)
            await broker.start()
            await broker.publish(topic, body)
            await broker.stop()

        asyncio.run(publish())
        return 204


class BaselineShopper(Shopper):
    """A client of the baseline."""

    def __init__(self, shop: BaselineShop, tap: BaselineTap) -> None:
        # The tests use only attributes that both shops and both taps have.
        super().__init__(cast(System, shop), cast(Tap, tap))
        self._baseline = shop

    def state(self, app_id: str, key: str) -> httpx.Response:
        """Read a record of a service, from Redis."""
        with valkey.Valkey.from_url(self._baseline.redis_url) as client:
            # the client's type hints allow a coroutine
            value: Any = client.hget(f"{app_id}||{key}", "data")
        return httpx.Response(204) if value is None else httpx.Response(200, content=value)
