"""Tests of the README's calls for new users, run by a shell exactly as written."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sidecart.cli.run import example_calls
from tests.e2e.shopper import Shopper

README = Path(__file__).parents[2] / "README.md"
CONTAINERS = README.parent / "docs" / "how-to" / "containers.md"
DEMO = "./sidecart demo --url http://127.0.0.1:8000"
SHELLS = [shell for shell in ("bash", "zsh") if shutil.which(shell)]


def pasted() -> str:
    """Return the block of three calls."""
    found = re.search(r"^Three calls, .*?```sh\n(.*?)```", README.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("shell", SHELLS)
def test_the_three_calls_of_the_readme_can_be_pasted(shopper: Shopper, shell: str) -> None:
    """The calls run unchanged, except for the shop's address, and need no id to be filled in."""
    script = pasted().replace("localhost:8000", shopper.shop.url)
    done = subprocess.run([shell, "-c", script], capture_output=True, text=True, check=True)

    user = json.loads(done.stderr)
    deposit, order = re.findall(r"\{.*?\}(?=\{|$)", done.stdout.replace("\n", ""))
    assert user["user_id"] == json.loads(deposit)["user_id"] == json.loads(order)["user_id"]
    assert "OrderPaid" == shopper.final(json.loads(order)["order_id"])


def test_the_launcher_prints_the_same_calls() -> None:
    """The launcher prints the README's calls with the shop's own address."""
    assert pasted() == example_calls("localhost:8000")


def test_the_demo_drives_a_running_shop(shopper: Shopper) -> None:
    """The demo drives a running shop by its addresses, as it does for the containers."""
    assert DEMO in CONTAINERS.read_text("utf-8")
    words = [sys.executable, "sidecart", "demo", "--url", shopper.shop.url, "--mail-url", shopper.shop.mail_url]
    done = subprocess.run(words, cwd=README.parent, capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.endswith("demo passed: every answer, both mails, and every final state\n")
