"""The README's commands for several gateways, supervision, traces and dead letters, run exactly as
written.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import httpx
import psutil

from sidecart.launcher.deadline import Deadline
from tests.e2e.otlp import Receiver
from tests.full.project_copy import Running, documented, running

SECONDS = 60


def pids(shop: Running) -> dict[str, int]:
    """Return the pids in `./sidecart status`, by name; empty unless every process is ready."""
    output = shop.run("./sidecart", "status")
    rows = re.findall(r"^(\S+) +(\d+) +\d* +(?:up|ready)$", output.stdout, re.MULTILINE)
    return {name: int(pid) for name, pid in rows} if output.returncode == 0 else {}


def is_another(shop: Running, name: str, before: int) -> bool:
    """Return whether a process of that name runs with another pid than before."""
    return pids(shop).get(name, before) != before


def test_the_live_page_can_be_turned_off(tmp_path: Path) -> None:
    """With --no-monitor, neither the monitor nor its sidecar runs."""
    with running(tmp_path, documented("./sidecart run --no-monitor")) as shop:
        names = set(pids(shop))
        output = shop.log.read_text()

    assert {"gateway", "notification-sidecar"} <= names
    assert set() == {name for name in names if name.startswith("monitor")}
    assert "live page" not in output


def test_traces_go_to_the_configured_receiver(tmp_path: Path) -> None:
    """One variable sends the spans of apps and sidecars to a receiver; the test changes the port
    only.
    """
    command = documented("OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 ./sidecart run")
    trace_id = "ab" * 16
    traced = {"gateway", "gateway-sidecar", "user", "user-sidecar", "billing-sidecar", "notification"}
    with Receiver() as receiver:
        changed = command.replace("http://127.0.0.1:4318", receiver.endpoint)
        with running(tmp_path, f"env {changed}") as shop:
            body = {"email": "ann@example.com", "name": "Ann"}
            headers = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
            httpx.post(f"{shop.url}/user/register", json=body, headers=headers, trust_env=False)
            receiver.wait(trace_id, lambda spans: traced <= {span.service for span in spans}, SECONDS)


def test_several_gateways_restart_after_kills(tmp_path: Path) -> None:
    """Three gateways and two replicas of a service run behind one address; killed processes return
    in `status`.
    """
    with running(tmp_path, documented("./sidecart run --gateways 3 --replicas order=2")) as shop:
        before = pids(shop)
        body = {"email": "ann@example.com", "name": "Ann"}
        first = httpx.post(f"{shop.url}/user/register", json=body, trust_env=False)
        page = re.findall(r"^The live page is at (\S+)$", shop.log.read_text(), re.MULTILINE)
        opened = [httpx.get(each, trust_env=False) for each in page]
        for name in ("gateway-1", "monitor"):
            psutil.Process(before[name]).kill()
            Deadline().until(partial(is_another, shop, name, before[name]), SECONDS, shop.log.read_text, 0.5)
        letters = [
            shop.run(*documented(command).replace('"no such user"', "nothing").split())
            for command in (
                "./sidecart dead-letters list",
                "./sidecart dead-letters replay --topic EmailRequested --dry-run",
                "./sidecart dead-letters replay --topic EmailRequested",
                './sidecart dead-letters discard --reason "no such user"',
            )
        ]
        output = shop.log.read_text()

    assert [200] == [answer.status_code for answer in opened]
    assert "monitor ended with code -9: restarting now" in output
    assert {
        "monitor",
        "monitor-sidecar",
        "proxy",
        "gateway",
        "gateway-1",
        "gateway-2",
        "order",
        "order-1",
        "order-1-sidecar",
    } <= set(before)
    assert 201 == first.status_code
    assert "gateway-1 ended with code -9: restarting now" in output
    assert [0, 0, 0, 0] == [each.returncode for each in letters], letters
    assert ["0 dead letters\n"] * 4 == [each.stdout.partition(":")[0].rstrip("\n") + "\n" for each in letters]
