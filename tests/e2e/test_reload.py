"""Tests of `./sidecart run --reload`: a change restarts its apps, and an error keeps the old code.

The shop runs in a copy of the project, because the tests change its files.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from shop.acting import acting
from sidecart.launcher import runfile
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.topics import app_ids
from tests.e2e.conftest import broker, store
from tests.e2e.shopper import SECONDS, TEA, as_another, new_address
from tests.full.project_copy import Running, running

pytestmark = [pytest.mark.own_shop, pytest.mark.sidecars]

COMMAND = f"./sidecart run --reload --no-monitor --broker {broker()} --store {store()}"
RESTART_SECONDS = 120  # of five apps, one after the other, on a busy machine


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Start a shop that watches the files of its own copy of the project."""
    with running(tmp_path_factory.mktemp("reload"), COMMAND) as found:
        wait(found, lambda: "restarts its apps" in found.log.read_text())
        yield found


def wait(shop: Running, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; fail with the launcher's output."""
    Deadline().until(condition, RESTART_SECONDS, shop.log.read_text, 0.1)


def pids(shop: Running) -> dict[str, int]:
    """Return the process of each app."""
    described = runfile.read(shop.folder / ".sidecart" / "run")
    assert described is not None
    return {app_id: described.processes[app_id] for app_id in app_ids()}


def edit(shop: Running, file: str, old: str, new: str) -> None:
    """Replace a text that a file contains once."""
    path = shop.folder / file
    text = path.read_text("utf-8")
    assert 1 == text.count(old)
    path.write_text(text.replace(old, new), "utf-8")


def restarted(shop: Running, before: dict[str, int]) -> set[str]:
    """Return the apps that have another process than before."""
    return {app_id for app_id, pid in pids(shop).items() if pid != before[app_id]}


def times_ready(shop: Running, app_id: str) -> int:
    """Return how often the launcher reported that a restarted app is ready."""
    return shop.log.read_text().splitlines().count(f"{app_id} is ready")


def test_a_changed_app_runs_the_new_code(shop: Running) -> None:
    """Only the changed app restarts, and a call shows its new answer."""
    before, ready = pids(shop), times_ready(shop, "gateway")
    edit(shop, "gateway/commands.py", "another user has this e-mail address", "the address belongs to another user")
    wait(shop, lambda: times_ready(shop, "gateway") > ready)

    assert {"gateway"} == restarted(shop, before)
    address = new_address()
    body = {"email": address, "name": "Ann"}
    other = as_another(shop.issuer_folder, address)
    with httpx.Client(base_url=shop.url, timeout=SECONDS, trust_env=False, auth=acting(shop.issuer_folder)) as http:
        assert 201 == http.post("/user/register", json=body).status_code
        taken = http.post("/user/register", json=body, headers=other)
    assert "the address belongs to another user" == taken.json()["detail"]


def test_an_error_keeps_the_old_process(shop: Running) -> None:
    """The output shows the error; the corrected file restarts the app, and orders work."""
    before, ready = pids(shop), times_ready(shop, "order")
    edit(shop, "services/order/domain.py", "State = Order\n", "State = Order(\n")
    wait(shop, lambda: "SyntaxError" in shop.log.read_text())

    assert "services/order/domain.py changed, but order keeps its old code" in shop.log.read_text()
    assert set() == restarted(shop, before)
    edit(shop, "services/order/domain.py", "State = Order(\n", "State = Order\n")
    wait(shop, lambda: times_ready(shop, "order") > ready)
    assert {"order"} == restarted(shop, before)
    with httpx.Client(base_url=shop.url, timeout=SECONDS, trust_env=False, auth=acting(shop.issuer_folder)) as http:
        user = http.post("/user/register", json={"email": new_address(), "name": "Ann"}).json()
        answer = http.post("/order/create", json={"user_id": user["user_id"], "items": [TEA]})
    assert 201 == answer.status_code, answer.text


def test_a_changed_contract_restarts_every_app(shop: Running) -> None:
    """The apps restart one after the other."""
    before = pids(shop)
    ready = {app_id: times_ready(shop, app_id) for app_id in app_ids()}
    topics = shop.folder / "contracts" / "topics.json"
    topics.write_text(json.dumps(json.loads(topics.read_text("utf-8")), indent=1), "utf-8")
    wait(shop, lambda: all(times_ready(shop, app_id) > ready[app_id] for app_id in app_ids()))

    assert set(app_ids()) == restarted(shop, before)
