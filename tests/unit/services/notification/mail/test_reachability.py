"""The probes of an unreachable mail server."""

from __future__ import annotations

from datetime import timedelta

from sidecart.launcher.ports import free_port
from tests.unit.services.notification.mail.harness import OTHER, MailHarness, Script, play, requested, serving
from tests.unit.services.sample_events import ORDER


def test_an_unreachable_server_is_probed_with_backoff_and_all_mails_follow() -> None:
    """Each probe opens one connection; after recovery the queue sends all mails."""
    port = free_port()

    async def scenario(harness: MailHarness) -> None:
        process = harness.process(port)
        probes = []
        open_connection = process.connections.connector.open

        async def count_and_open() -> object:
            probes.append(harness.now)
            return await open_connection()

        process.connections.connector.open = count_and_open  # type: ignore[method-assign,assignment]  # see above
        for order_id in (ORDER, OTHER):
            await process.handle(requested(order_id))
        begin = harness.now
        for _ in range(200):
            harness.now += timedelta(seconds=0.5)
            await process.retries.retry_due()
        assert [0, 1, 3, 7, 15, 31, 61, 91] == [(each - begin).total_seconds() for each in probes]
        async with serving(Script(), port) as server:
            harness.now += timedelta(seconds=30)
            await process.retries.retry_due()
            await process.retries.retry_due()
            assert 2 == len(server.copies)
            assert [] == harness.index

    play(scenario)
