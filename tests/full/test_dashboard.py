"""The Grafana dashboard's queries, run by Prometheus against a running shop: each query returns a
value.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from shop.acting import acting
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.ports import free_port
from sidecart.launcher.project import root
from sidecart.launcher.topics import app_ids
from tests.full.documentation import documented
from tests.full.project_copy import Running, running

DASHBOARD = root() / "docs" / "grafana" / "sidecart.json"
PROMETHEUS = "prometheus --config.file docs/grafana/prometheus.yml"
SECONDS = 60
STOP_SECONDS = 20
SCRAPES = 3  # rate() needs two of them


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """Return the query of each panel."""
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def empty(url: str, expressions: list[str]) -> list[str]:
    """Return the expressions whose result is empty or not a number."""
    return [each for each in expressions if not any(not math.isnan(value) for value in values(url, each))]


def values(url: str, expression: str) -> list[float]:
    """Return the values that Prometheus returns for an expression."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}, trust_env=False).json()
    assert "success" == answer["status"], f"{expression}: {answer}"
    return [float(found["value"][1]) for found in answer["data"]["result"]]


@contextmanager
def scraping(shop: Running, data: Path) -> Iterator[str]:
    """Start Prometheus with the README's command and its own data folder; yield its URL."""
    port, log = free_port(), data / "prometheus.log"
    words = documented(PROMETHEUS).split()
    own = ["--storage.tsdb.path", str(data / "tsdb"), f"--web.listen-address=127.0.0.1:{port}"]
    with (
        log.open("wb") as output,
        subprocess.Popen([*words, *own], cwd=shop.folder, stdout=output, stderr=output) as process,
    ):
        url = f"http://127.0.0.1:{port}"
        try:
            Deadline().until(lambda: process.poll() is not None or is_ready(url), SECONDS, log.read_text, 0.2)
            assert None is process.poll(), log.read_text()
            yield url
        finally:
            process.terminate()
            process.wait(STOP_SECONDS)


def is_ready(url: str) -> bool:
    """Return whether Prometheus reports ready."""
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def drive(shop: Running) -> list[int]:
    """Run both flows, and return the statuses of the orders.

    One order can be paid and others cannot. The last ones ask for no wait, so they may be pending.
    """
    with httpx.Client(base_url=shop.url, trust_env=False, timeout=SECONDS, auth=acting(shop.issuer_folder)) as http:
        user = http.post("/user/register", json={"email": "ann@example.com", "name": "Ann"}).json()["user_id"]
        http.post("/account/deposit", json={"user_id": user, "amount_cents": 900})
        item = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
        body, at_once = {"user_id": user, "items": [item]}, {"prefer": "respond-async"}
        return [http.post("/order/create", json=body, headers=each).status_code for each in ({}, {}, *[at_once] * 8)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Start a shop with `./sidecart run`."""
    assert shutil.which("prometheus"), "prometheus is not installed: make system-deps-full"
    with running(tmp_path_factory.mktemp("scraped"), "./sidecart run") as made:
        yield made


def test_each_query_of_the_dashboard_returns_a_value(shop: Running, tmp_path: Path) -> None:
    """Each query returns a value after some orders; the same queries with a misspelled metric
    return none.
    """
    queries = expressions(json.loads(DASHBOARD.read_text("utf-8")))
    wrong = [each.replace("sidecart_", "sidecar_", 1) for each in queries if "sidecart_" in each]
    with scraping(shop, tmp_path) as url:
        scraped = 'min(count_over_time(up{job="sidecart"}[5m]))'
        Deadline().until(
            lambda: values(url, scraped) >= [SCRAPES], SECONDS, lambda: f"{values(url, scraped)} scrapes", 0.5
        )
        answers = drive(shop)
        orders = 'sum(sidecart_requests_total{path="/order/create"})'
        Deadline().until(
            lambda: values(url, orders) == [len(answers)], SECONDS, lambda: f"{values(url, orders)} orders", 0.5
        )
        without_value: list[str] = queries

        def all_found() -> bool:
            nonlocal without_value
            without_value = empty(url, without_value)
            return not without_value

        Deadline().until(all_found, SECONDS, lambda: f"no value for: {without_value}", 0.5)
        assert len(app_ids()) + len([TRIMMER]) == values(url, 'sum(up{job="sidecart"})')[0]
        assert answers.count(202) == values(url, "sum(sidecart_accepted_total)")[0]
        assert wrong == empty(url, wrong)

    assert 15 < len(queries)


def test_the_metrics_are_on_no_public_port(shop: Running) -> None:
    """The gateway's public port has no /metrics; the addresses that `status` lists have it."""
    status = shop.run("./sidecart", "status").stdout
    listed = re.search(r"^metrics \(http://(\S+):PORT/metrics\): ((?:.+\n)(?:  .+\n)*)", status, re.MULTILINE)
    assert listed is not None
    places = {name: f"{listed[1]}:{port}" for name, port in re.findall(r"(\S+) (\d+)", listed[2])}

    assert 404 == httpx.get(f"{shop.url}/metrics", trust_env=False).status_code
    assert {*app_ids(), TRIMMER} == set(places)
    for name, place in places.items():
        metrics = httpx.get(f"http://{place}/metrics", trust_env=False)
        series = "sidecart_stream_entries" if name == TRIMMER else "sidecart_events_total"
        assert (200, True) == (metrics.status_code, series in metrics.text)
