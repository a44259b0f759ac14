"""The live page repeats parts of the topology, which agree with their source."""

import re

from gateway.app import SHOP
from sidecart.launcher.project import root
from sidecart.launcher.topics import app_ids
from sidecart.monitor import gateway_proxy

ARROWS = root() / "src" / "sidecart" / "monitor" / "static" / "arrows.js"


def test_each_app_has_a_lifeline() -> None:
    """Add the app to LIFELINES in src/sidecart/monitor/static/arrows.js."""
    lifelines = re.findall(r'^  \["(\w+)", "', ARROWS.read_text(encoding="utf-8"), re.MULTILINE)

    assert [] == [app_id for app_id in app_ids() if app_id not in lifelines], (
        "missing in src/sidecart/monitor/static/arrows.js"
    )


def test_the_page_passes_on_the_calls_of_the_gateway() -> None:
    """Add the path to src/sidecart/monitor/gateway_proxy.py."""
    reads = {path.replace(":uuid", "") for path in gateway_proxy.READS}

    assert SHOP.command_paths == set(gateway_proxy.POSTS), "POSTS of src/sidecart/monitor/gateway_proxy.py"
    assert {query.path for query in SHOP.queries} == reads - {"/asyncapi.json"}, (
        "READS of src/sidecart/monitor/gateway_proxy.py"
    )
