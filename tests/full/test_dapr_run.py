"""`dapr run -f .`: the official CLI runs the project, on each broker.

The CLI does not restart an app. So another test starts the same processes itself, in the way of the
CLI, and restarts the apps.
"""

import os
import re
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from shop.acting import acting
from shop.demo import Demo
from sidecart.issuer.keys import JWKS_PATH
from sidecart.launcher import daprd
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.lifecycle.plan import issuer_folder
from sidecart.launcher.local_http import get
from sidecart.launcher.ports import free_port, is_listening
from sidecart.launcher.processes import Processes
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import GATEWAY, app_ids
from sidecart.testkit.acting import Acting
from tests.e2e.first_events import LONG_SECONDS, by_metrics, late, publish_story, published_by
from tests.full import dapr_cli
from tests.full.multi_app_run import APP_ENV, FREE_PORTS, OWN, Started, apps, flags, sourced

RUN = "set -a; . ./deploy.env; export $(cat dapr/topics.env); dapr run -f ."
CATCHER = ".venv/bin/python -m sidecart.launcher.servers.mailcatcher --smtp-port 1025 --http-port 8025"
ISSUER = ".venv/bin/python -m sidecart.issuer --port 8030 --keys .sidecart/issuer"
SWAP = "sed -i 's#brokers/redis#brokers/rabbitmq#' dapr.yaml"
STORE_SWAP = "sed -i 's#stores/redis#stores/postgres#' dapr.yaml"
COPY = "cp deploy.env.example deploy.env"
COMMANDS = [COPY, RUN, CATCHER, ISSUER, SWAP, STORE_SWAP]
"""The commands of docs/how-to/dapr-run.md."""
SHELL = {name: value for name, value in plain_environment().items() if name != "PYTHONPATH"}
"""The user's shell: only the environment's sidecart.pth tells Python where the toolkit is."""
SECONDS = 180
STOP_SECONDS = 20
DOWN_SECONDS = (0.0, LONG_SECONDS, 1.0, LONG_SECONDS)
"""Each restart: all apps are killed and start again after this many seconds."""


def test_the_cli_is_built_with_the_modules_of_our_daprd() -> None:
    """The versions in go.mod follow the version of daprd."""
    requirements = (dapr_cli.REQUIREMENTS / "go.mod").read_text("utf-8")

    assert f"github.com/dapr/dapr => github.com/dapr/dapr v{daprd.VERSION}\n" in requirements


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


@dataclass(frozen=True, slots=True)
class Prepared:
    """A project folder with deploy.env, and the servers that it names."""

    folder: Path
    environment: Mapping[str, str]
    """The user's shell after reading deploy.env."""
    web: int
    """The port of the mail catcher's page."""

    @property
    def auth(self) -> Acting:
        """Return tokens of the local issuer."""
        return acting(issuer_folder(self.folder / ".sidecart"))


def prepare(folder: Path, broker: str, processes: Processes, deadline: Deadline) -> Prepared:
    """Start the servers and fill in deploy.env; swap one line each for RabbitMQ and PostgreSQL."""
    data = folder / "data"
    data.mkdir()
    store = STORES["postgres" if broker == "rabbitmq" else "redis"]
    servers = {each.env: each for each in (BROKERS[broker], store)}
    addresses = {
        name: value
        for server in servers.values()
        for name, value in server.variables(server.start(processes, data, deadline)).items()
    }
    smtp, web = free_port(), free_port()
    catcher = CATCHER.replace("1025", str(smtp)).replace("8025", str(web)).split()
    processes.start("mail", [sys.executable, *catcher[1:]], env=SHELL, cwd=root())
    issuer = free_port()
    words = ISSUER.replace("8030", str(issuer)).split()
    processes.start("issuer", [sys.executable, *words[1:]], env=SHELL, cwd=folder)
    filled = {
        **{name: secrets.token_urlsafe(24) for name in ("APP_API_TOKEN", "DAPR_API_TOKEN")},
        "SMTP_URL": f"smtp://127.0.0.1:{smtp}",
        "OIDC_JWKS": f"http://127.0.0.1:{issuer}{JWKS_PATH}",
        **addresses,
    }
    shutil.copy(root() / "deploy.env.example", folder)
    sourced(f"{COPY};", folder, SHELL)
    example = (folder / "deploy.env").read_text("utf-8")
    for name, value in filled.items():
        example, number = re.subn(rf"^{name}=.*$", f"{name}='{value}'", example, flags=re.MULTILINE)
        assert 1 == number, f"deploy.env.example has no {name}"
    (folder / "deploy.env").write_text(example, encoding="utf-8")
    if broker == "rabbitmq":
        sourced(f"{SWAP}; {STORE_SWAP};", folder, SHELL)
    return Prepared(folder, sourced(RUN.removesuffix("dapr run -f ."), folder, SHELL), web)


def wait_ready(prepared: Prepared, processes: Processes, port: int, deadline: Deadline) -> None:
    """Wait until the gateway at this port and the mail catcher answer; no process may end."""

    def late() -> str:
        ends = [f"{name}: {line}" for name in processes.logged for line in processes.last_lines(name, 3)]
        return "\n".join([f"not ready after {SECONDS} s: {get(port, '/readyz')}", *ends])

    def ready() -> bool:
        assert {} == processes.dead(), late()
        return get(port, "/readyz")[0] == 200 and is_listening(prepared.web)

    deadline.until(ready, SECONDS, late, 0.2)


def is_alive(process: psutil.Process) -> bool:
    """Return whether a process runs; one that waits for its parent has ended."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def same(started: Started, of_the_cli: list[psutil.Process]) -> None:
    """Compare one app and its sidecar with the CLI's, except for ports that the CLI chooses."""
    free = {f"--{OWN[name][1]}" for name in FREE_PORTS}
    sidecars = [flags(each.cmdline()[1:]) for each in of_the_cli if each.name() == "daprd"]
    [theirs] = [each for each in sidecars if each["--app-id"] == [started.app_id]]
    [app] = [each for each in of_the_cli if each.cmdline()[1:] == started.command[1:]]
    chosen = {name for name, key in APP_ENV.items() if key in FREE_PORTS}
    env = {name: value for name, value in started.env.items() if SHELL.get(name) != value and name not in chosen}
    env.pop("PWD", None)  # set by the shell

    ours = flags(started.flags)
    assert {name: values for name, values in ours.items() if name not in free} == {
        name: values for name, values in theirs.items() if name not in free
    }
    assert ours.keys() == theirs.keys()
    assert str(started.folder.resolve()) == app.cwd()
    assert env == {name: value for name, value in app.environ().items() if name in env}


@pytest.mark.parametrize("broker", BROKERS)
def test_the_official_cli_runs_the_project(folder: Path, broker: str) -> None:
    """`dapr run -f .` starts all apps, the demo passes, and Ctrl-C leaves no process.

    It starts them with the flags and the environment of `multi_app_run`.
    """
    deadline = Deadline()
    cli = dapr_cli.find(print, deadline)
    installed = folder / "runtime" / ".dapr" / "bin" / "daprd"
    installed.parent.mkdir(parents=True)
    installed.symlink_to(daprd.find(print, deadline).path)
    with running(Processes(folder / "logs")) as processes:
        prepared = prepare(folder, broker, processes, deadline)
        started = apps(folder / "dapr.yaml", prepared.environment, lambda: 1)
        port = int(next(each.env["APP_PORT"] for each in started if each.app_id == GATEWAY))
        shell = SHELL | {
            "PATH": os.pathsep.join([str(cli.parent), SHELL["PATH"]]),
            "DAPR_RUNTIME_PATH": str(folder / "runtime"),
        }
        # `exec`: Ctrl-C in a terminal reaches the CLI itself
        command = RUN.replace("dapr run", "exec dapr run")
        pid = processes.start("dapr", ["sh", "-c", command], env=shell, cwd=folder, stop_signal=signal.SIGINT)
        wait_ready(prepared, processes, port, deadline)
        Demo(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{prepared.web}", deadline, prepared.auth).play()
        children = psutil.Process(pid).children(recursive=True)
        for each in started:
            same(each, children)

        os.kill(pid, signal.SIGINT)
        deadline.until(lambda: processes.dead() == {"dapr": 0}, STOP_SECONDS, lambda: str(processes.dead()))
        deadline.until(lambda: not any(map(is_alive, children)), STOP_SECONDS, lambda: str(children))


@pytest.mark.parametrize("broker", BROKERS)
def test_both_flows_and_restarts_work_with_the_processes_of_the_cli(folder: Path, broker: str) -> None:
    """The same processes, whose apps are killed and start again, lose no event."""
    deadline = Deadline()
    with running(Processes(folder / "logs")) as processes:
        prepared = prepare(folder, broker, processes, deadline)
        program = str(daprd.find(print, deadline).path)
        started = {each.app_id: each for each in apps(folder / "dapr.yaml", prepared.environment, free_port)}
        assert list(app_ids()) == list(started)
        metrics = {app_id: free_port() for app_id in started}
        token = prepared.environment["APP_API_TOKEN"]

        def start_app(app_id: str) -> None:
            each = started[app_id]
            env = {**each.env, "METRICS_PORT": str(metrics[app_id])}
            processes.start(app_id, each.command, env=env, cwd=each.folder)

        def all_ready() -> bool:
            return all(get(int(each.env["APP_PORT"]), "/readyz", token)[0] == 200 for each in started.values())

        for app_id, each in started.items():
            processes.start(f"{app_id}-sidecar", [program, *each.flags], env=prepared.environment, cwd=each.folder)
            start_app(app_id)
        port = int(started[GATEWAY].env["APP_PORT"])
        wait_ready(prepared, processes, port, deadline)
        Demo(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{prepared.web}", deadline, prepared.auth).play()
        assert {} == processes.dead()

        sidecars = {app_id: f"http://127.0.0.1:{each.env['DAPR_HTTP_PORT']}" for app_id, each in started.items()}
        publish = published_by(sidecars, dict.fromkeys(sidecars, prepared.environment["DAPR_API_TOKEN"]))
        taken = by_metrics(metrics)
        publish_story(publish, taken)
        for down_seconds in DOWN_SECONDS:
            for app_id in started:
                processes.kill(app_id)
            deadline.pause(down_seconds)
            for app_id in started:
                start_app(app_id)
            deadline.until(all_ready, SECONDS, lambda: "an app is not ready after its restart", 0.1)
            assert {} == late(publish, taken)
