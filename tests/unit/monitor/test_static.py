"""What the live page repeats of the topology agrees with its source."""

import re

from cli.project import ROOT
from cli.topics import APPS
from gateway.app import SHOP
from monitor import gateway_proxy

ARROWS = ROOT / "monitor" / "static" / "arrows.js"


def test_each_app_has_a_lifeline() -> None:
    """Add the app to LIFELINES in monitor/static/arrows.js."""
    lifelines = re.findall(r'^  \["(\w+)", "', ARROWS.read_text(encoding="utf-8"), re.MULTILINE)

    assert [] == [app_id for app_id in APPS if app_id not in lifelines], "missing in monitor/static/arrows.js"


def test_the_page_passes_on_the_calls_of_the_gateway() -> None:
    """Add the path to monitor/gateway_proxy.py."""
    reads = {path.replace(":uuid", "") for path in gateway_proxy.READS}

    assert SHOP.command_paths == set(gateway_proxy.POSTS), "POSTS of monitor/gateway_proxy.py"
    assert {query.path for query in SHOP.queries} == reads - {"/asyncapi.json"}, "READS of monitor/gateway_proxy.py"
