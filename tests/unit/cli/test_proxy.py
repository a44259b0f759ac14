"""The proxy in front of several gateways: what it waits for, and by what it chooses."""

import re

from cli.proxy import CONFIGURATION
from gateway.preferences import WAIT_SECONDS_MAX


def test_the_proxy_waits_longer_than_its_gateways() -> None:
    """A gateway answers within the longest wait and a second: its 202 has a location, and a 504 has none."""
    found = re.search(r"^    timeout server (\d+)s$", CONFIGURATION, re.MULTILINE)

    assert found is not None
    assert WAIT_SECONDS_MAX + 1 < int(found[1])


def test_a_broker_that_blocks_publishing_takes_no_gateway_out() -> None:
    """All of them share it, and each still reads and accepts."""
    assert "option httpchk GET /readyz?exclude=broker\n" in CONFIGURATION
