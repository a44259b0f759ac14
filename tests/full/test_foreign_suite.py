"""The foreign service's own tests, run as its README says."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import psutil

from cli.patience import Patience
from cli.ports import free_port
from cli.project import ROOT
from cli.shop import get


def test_its_own_tests_pass() -> None:
    """`npm test` in its folder."""
    done = subprocess.run(
        ["npm", "test"], cwd=ROOT / "examples" / "user-node", capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout[-5000:] + done.stderr[-2000:]
    assert "# fail 0" in done.stdout


def test_the_readmes_command_runs_it_in_place_of_ours(tmp_path: Path) -> None:
    """`./sidecart run --with user=examples/user-node`, in a copy, for it uses the project's own folder; then Ctrl-C."""
    assert "./sidecart run --with user=examples/user-node\n" in (ROOT / "README.md").read_text("utf-8")
    copy, port = tmp_path / "shop", free_port()
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".*", "__pycache__", "secrets"))
    (copy / ".venv").symlink_to(sys.prefix)
    log = tmp_path / "run.log"
    words = ["./sidecart", "run", "--with", "user=examples/user-node", "--port", str(port)]
    with log.open("wb") as output, subprocess.Popen(words, cwd=copy, stdout=output, stderr=output) as launcher:
        try:
            Patience().until(
                lambda: launcher.poll() is not None or get(port, "/readyz")[0] == 200, 180, lambda: log.read_text(), 0.2
            )
            running = [" ".join(each.cmdline()) for each in psutil.Process(launcher.pid).children(recursive=True)]
            body = {"email": "ann@example.com", "name": "Ann"}
            answer = httpx.post(f"http://127.0.0.1:{port}/user/register", json=body, trust_env=False)
        finally:
            launcher.send_signal(signal.SIGINT)
            launcher.wait(120)

    assert 201 == answer.status_code
    assert 1 == sum(each.endswith("node src/main.js") for each in running), running
    assert not any("services.user.app" in each for each in running)
