"""Tests of the README's calls for new users, run by a shell exactly as written."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from sidecart.cli.run import example_calls
from tests.e2e.shopper import Shopper
from tests.full.documentation import blocks, commands
from tests.full.project_copy import copied, shell_environment

README = Path(__file__).parents[2] / "README.md"
CONTAINERS = README.parent / "docs" / "how-to" / "containers.md"
KEY = "tye-or-compose/secrets/token-issuer.pem"
[DEMO] = [
    line
    for block in blocks(CONTAINERS.read_text("utf-8"))
    for line in commands(block)
    if line.startswith("./sidecart demo --url http://127.0.0.1:8000")
]
SHELLS = [shell for shell in ("bash", "zsh") if shutil.which(shell)]


def pasted() -> str:
    """Return the block of three calls."""
    found = re.search(r"^Three calls, .*?```sh\n(.*?)```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.fixture
def project(shopper: Shopper, tmp_path: Path) -> Path:
    """Copy the project, with the keys of the running shop's token issuer."""
    copy = copied(tmp_path / "project")
    (copy / ".sidecart").mkdir()
    (copy / ".sidecart" / "issuer").symlink_to(shopper.shop.issuer_folder)
    return copy


@pytest.mark.parametrize("shell", SHELLS)
def test_the_three_calls_of_the_readme_can_be_pasted(shopper: Shopper, project: Path, shell: str) -> None:
    """The calls run unchanged, except for the shop's address, and need no id to be filled in."""
    script = pasted().replace("127.0.0.1:8000", shopper.shop.url)
    done = subprocess.run(
        [shell, "-c", script], cwd=project, env=shell_environment(project), capture_output=True, text=True, check=True
    )

    user = json.loads(done.stderr)
    deposit, order = re.findall(r"\{.*?\}(?=\{|$)", done.stdout.replace("\n", ""))
    assert user["user_id"] == json.loads(deposit)["user_id"] == json.loads(order)["user_id"]
    assert "OrderPaid" == shopper.final(json.loads(order)["order_id"])


def test_the_launcher_prints_the_same_calls() -> None:
    """The launcher prints the README's calls with the shop's own address."""
    assert pasted() == example_calls("127.0.0.1:8000")


@pytest.mark.parametrize(
    "command", [DEMO, DEMO.partition(" --token")[0]], ids=["with-a-token", "with-the-key-of-the-local-issuer"]
)
def test_the_demo_drives_a_running_shop(shopper: Shopper, project: Path, command: str) -> None:
    """The demo drives a running shop by its addresses, as it does for the containers."""
    words = command.replace("http://127.0.0.1:8000", f"{shopper.shop.url} --mail-url {shopper.shop.mail_url}")
    words = words.replace(KEY, str(shopper.shop.issuer_folder))
    done = subprocess.run(
        ["bash", "-c", words], cwd=project, env=shell_environment(project), capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.endswith("demo passed: every answer, both mails, and every final state\n")
