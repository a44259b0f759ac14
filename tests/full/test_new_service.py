"""A new service touches at most nine existing files, and each missing line is reported by name."""

import uuid
from pathlib import Path
from typing import Any

import httpx
import pytest

from shop.acting import acting
from sidecart.launcher import access_control, topic_scopes
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.project import root
from tests.full import project_copy
from tests.full.new_service import START, Edit, edits, extended_copy, new_files, python, replace, report

FILES_MAX = 9
STATIC = ("tests/contracts", "tests/unit")
"""The suites that need no running shop."""
TOOLKIT = tuple(f"--ignore=tests/unit/{folder}" for folder in ("bench", "chassis", "launcher/servers", "lint"))
"""Their parts that read nothing of the shop."""
POINTS_SECONDS = 10
GENERATED_FILES = {
    topic_scopes.FILE: "tests/contracts/test_topics_file.py",
    access_control.FILE: "tests/contracts/test_access_file.py",
}
"""The files that `sidecart scopes` writes, and their checks."""
NOT_RUN = {
    "contracts/schemas/PointsEarned.json": "contracts/schemas/PointsEarned.json is missing: PointsEarned is in",
    "contracts/http/points.json": "contracts/http/points.json is missing: it describes the answer of /loyalty",
    "services/loyalty/app.py": "dapr.yaml: the app loyalty runs services.loyalty.app, and there is no such module",
}
"""New files without which nothing starts."""


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Copy the project and add the service once for all tests, each of which restores it."""
    return extended_copy(tmp_path_factory.mktemp("extended") / "shop")


def created(http: httpx.Client, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Post a body and return that of the 201 response."""
    answer = http.post(path, json=body)
    assert 201 == answer.status_code, answer.text
    return dict(answer.json())


def test_few_existing_files_change() -> None:
    """The service edits at most nine files, two of them by a command, and creates the others."""
    changed = {*GENERATED_FILES, *(each.file for each in edits())}

    assert len(changed) <= FILES_MAX, sorted(changed)
    assert set() == changed & set(new_files())


def test_the_extended_project_passes_the_static_suites(extended: Path) -> None:
    """Without any other change, nothing contradicts itself and no list lacks the service."""
    started = report(extended, START)
    code = [name for name in new_files() if name.endswith(".py")]
    linted = [python(extended, "-m", *words, *code) for words in (("ruff", "check"), ("mypy", "--strict"))]
    tested = python(extended, "-m", "pytest", "-q", *STATIC, *TOOLKIT)

    assert (0, "") == (started.returncode, started.stdout)
    assert [0, 0] == [each.returncode for each in linted], [each.stdout for each in linted]
    assert 0 == tested.returncode, tested.stdout[-4_000:]


@pytest.mark.parametrize("edit", edits(), ids=lambda edit: edit.message.partition(" (")[0])
def test_a_missing_line_is_reported_by_name(extended: Path, edit: Edit) -> None:
    """Removing the line makes the start or a test fail with the file and the missing name."""
    assert edit.message.startswith(edit.file)
    replace(extended, edit.file, edit.new, edit.old)
    try:
        done = report(extended, edit.reported_by)
    finally:
        replace(extended, edit.file, edit.old, edit.new)

    assert 0 != done.returncode
    assert edit.message in done.stdout, done.stdout[-4_000:]


@pytest.mark.parametrize(("file", "check"), GENERATED_FILES.items())
def test_an_old_file_of_the_scopes_is_reported(extended: Path, file: str, check: str) -> None:
    """Containers would refuse the new topic, or the new read."""
    path = extended / file
    written = path.read_text("utf-8")
    path.write_text((root() / file).read_text("utf-8"), "utf-8")
    try:
        done = report(extended, check)
    finally:
        path.write_text(written, "utf-8")

    assert 0 != done.returncode
    assert f"{file} is old: run `./sidecart scopes`" in done.stdout


@pytest.mark.parametrize("file", NOT_RUN)
def test_a_missing_new_file_is_reported_by_name(extended: Path, file: str) -> None:
    """The start needs these files."""
    path = extended / file
    text = path.read_text("utf-8")
    path.unlink()
    try:
        done = report(extended, START)
    finally:
        path.write_text(text, "utf-8")

    assert 0 != done.returncode
    assert NOT_RUN[file] in done.stdout


def test_an_order_earns_points(tmp_path: Path) -> None:
    """`./sidecart run` starts the extended project, and a paid order arrives at the new service."""
    extended = extended_copy(tmp_path / "extended")
    with (
        project_copy.running(tmp_path, "./sidecart run", extended) as shop,
        httpx.Client(base_url=shop.url, timeout=30, trust_env=False, auth=acting(shop.issuer_folder)) as http,
    ):
        user = created(http, "/user/register", {"email": f"{uuid.uuid4().hex}@example.com", "name": "Ada"})
        user_id = user["user_id"]
        assert 404 == http.get(f"/loyalty/{user_id}").status_code
        created(http, "/account/deposit", {"user_id": user_id, "amount_cents": 10_000})
        items = [{"sku": "tea", "quantity": 2, "unit_price_cents": 450}]
        order = created(http, "/order/create", {"user_id": user_id, "items": items})

        def earned() -> bool:
            return bool(http.get(f"/loyalty/{user_id}").json() == {"user_id": user_id, "points": 9})

        Deadline().until(earned, POINTS_SECONDS, lambda: http.get(f"/loyalty/{user_id}").text)
        assert "paid" == http.get(f"/order/{order['order_id']}").json()["status"]
        assert "loyalty" in shop.run("./sidecart", "status").stdout
