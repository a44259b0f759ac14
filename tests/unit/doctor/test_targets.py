"""The checked files: the project's own for every broker and store, or the command line's."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from sidecart.doctor import command, targets
from sidecart.doctor.rules import judge
from sidecart.doctor.starts import Environment
from sidecart.launcher import monitor
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import MONITOR, app_ids

TRAPS = root() / "tests" / "doctor" / "traps"


def test_the_project_is_clean() -> None:
    """The run file and the compose file have no findings with any broker and store."""
    assert [] == command.project()


def test_all_of_the_projects_files_are_read() -> None:
    """Guards against a check that passes because it reads too few files."""
    configs = targets.own()
    read = {document.file for config in configs for document in (*config.documents, *config.sources)}
    expected = {*(root() / "components").rglob("*.yaml"), root() / "dapr.yaml"}
    expected |= {root() / "dapr" / name for name in ("config.yaml", "gateway.yaml", "access.yaml")}
    expected |= {root() / targets.COMPOSE_FILE, root() / "tye-or-compose" / "names.yaml"}
    expected |= {root() / monitor.CONTAINERS_FILE}

    assert {file.resolve() for file in expected} == {file.resolve() for file in read}
    assert set(itertools.product(BROKERS, STORES)) == {
        (broker, store)
        for config in configs
        for broker, store in itertools.product(BROKERS, STORES)
        if {root() / "components/brokers" / broker, root() / "components/stores" / store}
        <= {folder.resolve() for folder in config.folders}
    }
    assert {*app_ids(), MONITOR} == {start.app_id for config in configs for start in config.starts}


@pytest.mark.parametrize(
    ("file", "old", "new", "rule"),
    [
        ("components/policies/resiliency.yaml", "policy: constant", "policy: exponential", "exponential-retry-ends"),
        (
            "components/policies/resiliency.yaml",
            "      replies:\n        inbound:\n          retry: forever\n",
            "",
            "redis-no-inbound-retry",
        ),
        (
            "tye-or-compose/docker-compose.yml",
            "- --app-id=monitor\n",
            "- --app-id=another-reader\n",
            "redis-no-inbound-retry",
        ),
        (
            "components/brokers/rabbitmq/pubsub.yaml",
            "name: publisherConfirm",
            "name: publisherConfirms",
            "rabbitmq-no-confirm",
        ),
        ("components/brokers/rabbitmq/replies.yaml", "value: fanout", "value: topic", "rabbitmq-flags-disagree"),
        ("components/brokers/redis/pubsub.yaml", "name: maxLenApprox", "name: maxLength", "redis-stream-unbounded"),
        ("dapr.yaml", "  apiListenAddresses: 127.0.0.1", "  # removed", "listens-everywhere"),
        ("dapr.yaml", "  logLevel: warn", "  enableAppHealthCheck: true", "redis-app-health-check"),
        ("dapr/config.yaml", "cleanupInterval: 0s", "cleanupInterval: 1h", "sqlite-resolver-cleanup"),
        ("tye-or-compose/docker-compose.yml", '"--appendonly", "yes"', '"--appendonly", "no"', "redis-not-append-only"),
        (
            "tye-or-compose/docker-compose.yml",
            "--log-level=warn",
            "--enable-app-health-check",
            "redis-app-health-check",
        ),
        (
            "tye-or-compose/docker-compose.yml",
            "    networks: [gateway, mesh]",
            "    ports: ['3500:3500']",
            "listens-everywhere",
        ),
    ],
)
def test_a_harmful_change_of_the_projects_files_is_reported(
    monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, rule: str
) -> None:
    """Each change of a file triggers the rule, so the rules do apply to the project's files."""
    changed = (root() / file).resolve()
    text = changed.read_text(encoding="utf-8")
    assert old in text
    read_bytes = Path.read_bytes

    def other(path: Path) -> bytes:
        return text.replace(old, new).encode() if path.resolve() == changed else read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", other)

    assert rule in {one.rule for one in command.project()}


def test_folders_are_read_together() -> None:
    """Policies of one folder apply to components of another, as with several --resources-path."""
    env = Environment(dict.fromkeys(targets.LAUNCHED, "x"))
    folders = [root() / "components/policies", root() / "components/brokers/redis", root() / "components/stores/redis"]

    assert [] == [one for config in targets.named(folders, env) for one in judge(config)]
    assert {"redis-no-inbound-retry"} == {
        one.rule for config in targets.named(folders[1:], env) for one in judge(config)
    }


def test_a_run_file_in_a_folder_is_followed() -> None:
    """The doctor reads the folders and configurations that the run file names."""
    (config,) = targets.named([TRAPS / "path-missing"], Environment({}))

    assert ["order"] == [start.app_id for start in config.starts]
    assert {"statestore", "settings"} == {document.root.text("metadata", "name") for document in config.documents}


def test_a_missing_path_is_reported() -> None:
    """The error names the path."""
    with pytest.raises(LaunchError, match="nowhere does not exist"):
        targets.named([Path("nowhere")], Environment({}))
    with pytest.raises(LaunchError, match="neither a folder nor a file"):
        targets.named([Path("/dev/null")], Environment({}))
    with pytest.raises(LaunchError, match=r"nowhere\.env cannot be read"):
        targets.environment([Path("nowhere.env")])


def test_an_env_file_overrides_the_environment(tmp_path: Path) -> None:
    """Comments are skipped, and the word `export` is accepted."""
    (tmp_path / "deploy.env").write_text("# a comment\nexport REDIS_HOST='a:1'\nPOD_NAME=\n", encoding="utf-8")

    found = targets.environment([tmp_path / "deploy.env"], {"REDIS_HOST": "b:2", "HOME": "/root"})

    assert {"REDIS_HOST": "a:1", "POD_NAME": "", "HOME": "/root"} == dict(found.variables)
    assert found.lacks("POD_NAME")
