"""`dapr run -f .`: the test starts every app and sidecar of dapr.yaml in the way of the official
CLI, on each broker.
"""

import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shop.demo import Demo
from sidecart.launcher import daprd
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.local_http import get
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import GATEWAY, app_ids
from tests.e2e.first_events import LONG_SECONDS, by_metrics, late, publish_story, published_by
from tests.full.multi_app_run import apps, sourced

DOCUMENT = root() / "docs" / "dapr-run.md"
RUN = "set -a; . ./deploy.env; dapr run -f ."
CATCHER = ".venv/bin/python -m sidecart.launcher.servers.mailcatcher --smtp-port 1025 --http-port 8025"
SWAP = "sed -i 's#brokers/redis#brokers/rabbitmq#' dapr.yaml"
STORE_SWAP = "sed -i 's#stores/redis#stores/postgres#' dapr.yaml"
SHELL = {name: value for name, value in plain_environment().items() if name != "PYTHONPATH"}
"""The user's shell: only the environment's sidecart.pth tells Python where the toolkit is."""
SECONDS = 180
STOP_SECONDS = 20
DOWN_SECONDS = (0.0, LONG_SECONDS, 1.0, LONG_SECONDS)
"""Each restart: all five apps are killed and start again after this many seconds; twenty restarts
in total.
"""


def test_the_document_has_the_commands_of_these_tests() -> None:
    """The code blocks of docs/dapr-run.md contain these commands, and no others."""
    commands = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    lines = {line.split(" #")[0].strip() for block in commands for line in block.splitlines()}

    assert {"cp deploy.env.example deploy.env", RUN, CATCHER, SWAP, STORE_SWAP} == lines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Create a user's project folder, with copies of the files that the test changes."""
    shutil.copytree(root() / "dapr", tmp_path / "dapr", ignore=shutil.ignore_patterns("names.sqlite*"))
    for name in ("components", "gateway", "services", "src", "contracts"):
        (tmp_path / name).symlink_to(root() / name)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    text = (root() / "dapr.yaml").read_text("utf-8")
    # The only other change: free ports, so that the test can run next to a running shop.
    text = re.sub(r"(appPort|daprHTTPPort): \d+", lambda found: f"{found[1]}: {free_port()}", text)
    (tmp_path / "dapr.yaml").write_text(text, encoding="utf-8")
    return tmp_path


@contextmanager
def running(processes: Processes) -> Iterator[Processes]:
    """Stop all processes at the end, the youngest first."""
    try:
        yield processes
    finally:
        for name in reversed(processes.pids()):
            processes.stop([name], STOP_SECONDS)


@pytest.mark.parametrize("broker", BROKERS)
def test_both_flows_work_with_the_processes_of_the_cli(folder: Path, broker: str) -> None:
    """The test sources deploy.env, and swaps one line each for RabbitMQ and for PostgreSQL."""
    deadline, data = Deadline(), folder / "data"
    data.mkdir()
    with running(Processes(folder / "logs")) as processes:
        store = STORES["postgres" if broker == "rabbitmq" else "redis"]
        servers = {each.env: each for each in (BROKERS[broker], store)}
        addresses = {env: server.start(processes, data, deadline) for env, server in servers.items()}
        smtp, web = free_port(), free_port()
        catcher = CATCHER.replace("1025", str(smtp)).replace("8025", str(web)).split()
        processes.start("mail", [sys.executable, *catcher[1:]], env=SHELL, cwd=root())
        filled = {
            **{name: secrets.token_urlsafe(24) for name in ("APP_API_TOKEN", "DAPR_API_TOKEN")},
            "SMTP_URL": f"smtp://127.0.0.1:{smtp}",
            **addresses,
        }
        example = (root() / "deploy.env.example").read_text("utf-8")
        for name, value in filled.items():
            example, number = re.subn(rf"^{name}=.*$", f"{name}='{value}'", example, flags=re.MULTILINE)
            assert 1 == number, f"deploy.env.example has no {name}"
        (folder / "deploy.env").write_text(example, encoding="utf-8")
        if broker == "rabbitmq":
            sourced(f"{SWAP}; {STORE_SWAP};", folder, SHELL)
        environment = sourced(RUN.removesuffix("dapr run -f ."), folder, SHELL)

        program = str(daprd.find(print, deadline).path)
        started = {each.app_id: each for each in apps(folder / "dapr.yaml", environment, free_port)}
        assert list(app_ids()) == list(started)
        metrics = {app_id: free_port() for app_id in started}

        def start_app(app_id: str) -> None:
            each = started[app_id]
            env = {**each.env, "METRICS_PORT": str(metrics[app_id])}
            processes.start(app_id, each.command, env=env, cwd=each.folder)

        for app_id, each in started.items():
            processes.start(f"{app_id}-sidecar", [program, *each.flags], env=environment, cwd=each.folder)
            start_app(app_id)
        port = int(started[GATEWAY].env["APP_PORT"])

        def late_start() -> str:
            ends = [f"{name}: {line}" for name in processes.logged for line in processes.last_lines(name, 3)]
            return "\n".join([f"not ready after {SECONDS} s: {get(port, '/readyz')}", *ends])

        def ready() -> bool:
            assert {} == processes.dead()
            return get(port, "/readyz")[0] == 200 and is_listening(web)

        def all_ready() -> bool:
            token = filled["APP_API_TOKEN"]
            return all(get(int(each.env["APP_PORT"]), "/readyz", token)[0] == 200 for each in started.values())

        deadline.until(ready, SECONDS, late_start, 0.2)
        Demo(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{web}", deadline).play()
        assert {} == processes.dead()

        publish = published_by(f"http://127.0.0.1:{started[GATEWAY].env['DAPR_HTTP_PORT']}", filled["DAPR_API_TOKEN"])
        taken = by_metrics(metrics)
        publish_story(publish, taken)
        for down_seconds in DOWN_SECONDS:
            for app_id in started:
                processes.kill(app_id)
            deadline.pause(down_seconds)
            for app_id in started:
                start_app(app_id)
            deadline.until(all_ready, SECONDS, late_start, 0.1)
            assert {} == late(publish, taken)
