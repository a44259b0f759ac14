"""The proxy in front of several gateways: its timeouts and its health check."""

import re

from sidecart.edge.preferences import WAIT_SECONDS_MAX
from sidecart.launcher.proxy import CONFIGURATION, DRAIN_SECONDS


def test_the_proxy_waits_longer_than_its_gateways() -> None:
    """A gateway may answer 202 with a location up to a second after the longest wait."""
    found = re.search(r"^    timeout server (\d+)s$", CONFIGURATION, re.MULTILINE)

    assert found is not None
    assert WAIT_SECONDS_MAX + 1 < int(found[1])


def test_a_broker_that_blocks_publishing_removes_no_gateway() -> None:
    """All gateways share the broker, and each one still reads and accepts requests."""
    assert "option httpchk GET /readyz?exclude=broker\n" in CONFIGURATION


def test_the_proxy_sees_a_stop_while_the_gateway_still_serves() -> None:
    """The first failed check comes after the long interval, all others after the short one."""
    found = re.search(r"check inter (\d)s fastinter (\d+)ms downinter \d+ms fall (\d) ", CONFIGURATION)

    assert found is not None
    assert int(found[1]) + int(found[2]) / 1000 * (int(found[3]) - 1) < DRAIN_SECONDS
