"""The foreign service's own tests, run in the way of its README."""

import subprocess
from pathlib import Path

import httpx
import psutil

from shop.acting import acting
from sidecart.launcher.project import root
from tests.full.documentation import documented
from tests.full.project_copy import running

OWN_TESTS = "cd examples/user-node && npm test"
REPLACED = "./sidecart run --with user=examples/user-node"


def test_its_tests_pass() -> None:
    """`npm test` passes in its folder."""
    command = ["bash", "-c", documented(OWN_TESTS)]
    done = subprocess.run(command, cwd=root(), capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stdout[-5000:] + done.stderr[-2000:]
    assert "# fail 0" in done.stdout


def test_the_command_of_the_readme_replaces_our_service(tmp_path: Path) -> None:
    """The foreign program runs instead of our service, and a registration succeeds."""
    with running(tmp_path, documented(REPLACED)) as shop:
        found = [" ".join(each.cmdline()) for each in psutil.Process(shop.launcher.pid).children(recursive=True)]
        body = {"email": "ann@example.com", "name": "Ann"}
        answer = httpx.post(f"{shop.url}/user/register", json=body, trust_env=False, auth=acting(shop.issuer_folder))

    assert 201 == answer.status_code
    assert 1 == sum(each.endswith("node src/main.js") for each in found), found
    assert not any("services.user.app" in each for each in found)
