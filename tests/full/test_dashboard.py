"""The Grafana dashboard's queries, run by Prometheus against a shop that runs: each has to find something."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.deadline import Deadline
from cli.ports import free_port
from cli.project import ROOT
from tests.full.project_copy import Running, in_the_readme, running

DASHBOARD = ROOT / "docs" / "grafana" / "sidecart.json"
PROMETHEUS = "prometheus --config.file docs/grafana/prometheus.yml"
SECONDS = 60
STOP_SECONDS = 20
SCRAPES = 3  # a rate needs two of them


def expressions(dashboard: dict[str, Any]) -> list[str]:
    """What its panels ask."""
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]


def empty(url: str, asked: list[str]) -> list[str]:
    """Those of the expressions that are answered with nothing, or with no number."""
    return [each for each in asked if not any(not math.isnan(value) for value in values(url, each))]


def values(url: str, expression: str) -> list[float]:
    """What Prometheus answers to one."""
    answer = httpx.get(f"{url}/api/v1/query", params={"query": expression}, trust_env=False).json()
    assert "success" == answer["status"], f"{expression}: {answer}"
    return [float(found["value"][1]) for found in answer["data"]["result"]]


@contextmanager
def scraping(shop: Running, data: Path) -> Iterator[str]:
    """Prometheus as the README starts it, with its own files and its address elsewhere."""
    port, log = free_port(), data / "prometheus.log"
    words = in_the_readme(PROMETHEUS).split()
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
    """Whether it answers."""
    try:
        return httpx.get(f"{url}/-/ready", trust_env=False).is_success
    except httpx.TransportError:
        return False


def drive(shop: Running) -> list[int]:
    """Both flows, with an order that can be paid and some that cannot; the last wait for nothing, and may be pending.

    Returns what the orders were answered.
    """
    with httpx.Client(base_url=shop.url, trust_env=False, timeout=SECONDS) as http:
        user = http.post("/user/register", json={"email": "ann@example.com", "name": "Ann"}).json()["user_id"]
        http.post("/account/deposit", json={"user_id": user, "amount_cents": 900})
        item = {"sku": "tea", "quantity": 2, "unit_price_cents": 450}
        body, at_once = {"user_id": user, "items": [item]}, {"prefer": "respond-async"}
        return [http.post("/order/create", json=body, headers=each).status_code for each in ({}, {}, *[at_once] * 8)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A shop as `make run` keeps it."""
    assert shutil.which("prometheus"), "prometheus is not installed: make system-deps-full"
    with running(tmp_path_factory.mktemp("scraped"), "./sidecart run") as made:
        yield made


def test_each_query_of_the_dashboard_finds_something(shop: Running, tmp_path: Path) -> None:
    """On the figures of a shop in which orders were placed; and one of a metric that is none finds nothing."""
    asked = expressions(json.loads(DASHBOARD.read_text("utf-8")))
    wrong = [each.replace("sidecart_", "sidecar_", 1) for each in asked if "sidecart_" in each]
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
        nothing: list[str] = asked

        def all_found() -> bool:
            nonlocal nothing
            nothing = empty(url, nothing)
            return not nothing

        Deadline().until(all_found, SECONDS, lambda: f"nothing found by: {nothing}", 0.5)
        assert 5 == values(url, 'sum(up{job="sidecart"})')[0]
        assert answers.count(202) == values(url, "sum(sidecart_accepted_total)")[0]
        assert wrong == empty(url, wrong)

    assert 15 < len(asked)


def test_the_metrics_are_on_no_public_port(shop: Running) -> None:
    """The gateway's own port knows nothing of them; `status` says where they are, and they are there."""
    said = shop.run("./sidecart", "status").stdout
    [line] = [each for each in said.splitlines() if each.startswith("metrics (/metrics): ")]
    places = dict(each.split() for each in line.partition(": ")[2].split(", "))

    assert 404 == httpx.get(f"{shop.url}/metrics", trust_env=False).status_code
    assert {"gateway", "user", "billing", "order", "notification"} == set(places)
    for place in places.values():
        metrics = httpx.get(f"http://{place}/metrics", trust_env=False)
        assert (200, True) == (metrics.status_code, "sidecart_events_total" in metrics.text)
