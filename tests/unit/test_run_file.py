"""Tests of dapr.yaml as a Multi-App Run file.

The official CLI knows every key, and its sidecars get the launcher's flags.
"""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecart.launcher import sidecar
from sidecart.launcher.apps import read_apps, resource_folders
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.sidecar import Sidecar
from sidecart.launcher.topics import app_ids, service_ids
from tests.full.multi_app_run import apps, flags, problems

FILE = root() / "dapr.yaml"
DOCUMENT: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
PORTS = {"--dapr-http-port", "--dapr-grpc-port", "--dapr-internal-grpc-port", "--app-port", "--metrics-port"}
ONLY_THE_CLI = {
    "--app-max-concurrency": "-1",  # no limit, as daprd's default
    "--max-body-size": "4Mi",  # daprd's default
    "--read-buffer-size": "4Ki",  # daprd's default
    "--profile-port": "-1",  # no effect: profiling is off
    "--scheduler-host-address": "localhost:50006",  # required by the CLI; the shop has no jobs
}
ONLY_THE_LAUNCHER = {
    # no key in the file: with the CLI, the sidecar listens on every address
    "--dapr-internal-grpc-listen-address": "127.0.0.1",
    "--dapr-graceful-shutdown-seconds": "5",  # no key in the file: the CLI uses its own timeout
    "--enable-metrics=false": "",  # no key in the file; dapr/config.yaml turns metrics off, too
    "--app-channel-address": "127.0.0.1",  # daprd's default
}


def test_the_cli_knows_every_key() -> None:
    """The CLI knows every key of dapr.yaml and reads its value with the right type."""
    assert [] == problems(DOCUMENT)
    assert list(app_ids()) == [app["appID"] for app in DOCUMENT["apps"]]
    assert 1 == DOCUMENT["version"]


@pytest.mark.parametrize(
    ("where", "key", "value", "expected"),
    [
        ("common", "logLevl", "warn", "common.logLevl is unknown"),
        ("common", "appHealthThreshold", "5", "common.appHealthThreshold must be int"),
        ("common", "resourcesPaths", "./components", "common.resourcesPaths must be list"),
        ("apps", "daprHttpPort", 3500, "apps.gateway.daprHttpPort is unknown"),
        ("apps", "command", "python -m gateway.app", "apps.gateway.command must be list"),
    ],
)
def test_an_unknown_or_mistyped_key_is_a_problem(where: str, key: str, value: object, expected: str) -> None:
    """problems() reports a key that the CLI would silently ignore, or read as another type."""
    document = copy.deepcopy(DOCUMENT)
    (document["common"] if where == "common" else document["apps"][0])[key] = value

    assert [expected] == problems(document)


def test_every_path_exists_and_every_port_is_unique() -> None:
    """Paths are relative to dapr.yaml."""
    paths = [*DOCUMENT["common"]["resourcesPaths"], DOCUMENT["common"]["configFilePath"]]
    paths += [app["appDirPath"] for app in DOCUMENT["apps"]]
    ports = [app[key] for app in DOCUMENT["apps"] for key in ("appPort", "daprHTTPPort")]

    assert [] == [path for path in paths if not (root() / path).exists()]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("broker", BROKERS)
def test_the_swap_is_one_line(tmp_path: Path, broker: str) -> None:
    """Changing the broker's line in dapr.yaml gives the folders that the launcher uses for that
    broker.
    """
    lines = FILE.read_text(encoding="utf-8").splitlines()
    [number] = [number for number, line in enumerate(lines) if "- ./components/brokers/redis" in line]
    lines[number] = lines[number].replace("brokers/redis", f"brokers/{broker}")
    swapped = tmp_path / "dapr.yaml"
    swapped.write_text("\n".join(lines))
    ours = resource_folders(read_apps()["order"].resources, broker, "redis")

    theirs = [tmp_path / path for path in yaml.safe_load(swapped.read_text())["common"]["resourcesPaths"]]
    assert [path.relative_to(root()) for path in ours] == [path.relative_to(tmp_path) for path in theirs]


@pytest.mark.parametrize("app_id", app_ids())
def test_the_cli_and_the_launcher_give_a_sidecar_the_same_flags(app_id: str) -> None:
    """The flags agree, except ports and flags that only one of the two can set."""
    [started] = [each for each in apps(FILE, {}, lambda: 1) if each.app_id == app_id]
    app = read_apps()[app_id]
    theirs = flags(started.flags)
    ours = flags(sidecar.command(Path("daprd"), app, Sidecar(app_id, 1, 2, 3, 4), app.resources, [app.config])[1:])

    assert theirs.keys() >= PORTS
    for port in PORTS:
        theirs.pop(port), ours.pop(port, None)
    only_theirs, only_ours = theirs.keys() - ours.keys(), ours.keys() - theirs.keys()
    assert {name: [value] for name, value in ONLY_THE_CLI.items()} == {name: theirs.pop(name) for name in only_theirs}
    assert {name: [value] for name, value in ONLY_THE_LAUNCHER.items()} == {name: ours.pop(name) for name in only_ours}
    assert ours == theirs


def test_the_readme_lists_the_services() -> None:
    """The first paragraph of the README names each service of dapr.yaml."""
    [listed] = re.findall(r"A gateway and its services \((.*?)\)", (root() / "README.md").read_text("utf-8"), re.DOTALL)
    named = re.findall(r"`(\w+)`", listed)

    assert [] == [f"README.md: the list of services lacks {name}" for name in service_ids() if name not in named]
    assert [] == [f"dapr.yaml: no app {name}, which README.md lists" for name in named if name not in service_ids()]
