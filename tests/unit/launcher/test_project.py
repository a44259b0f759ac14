"""dapr.yaml, components/ and the launcher agree with each other."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecart.chassis.publish_components import is_further
from sidecart.chassis.sidecar_api import PUBSUB
from sidecart.cli.__main__ import main
from sidecart.launcher import topic_scopes
from sidecart.launcher.apps import apps_with, read_apps, resource_folders
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import declared, find_root, root
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.servers.server import Server
from sidecart.launcher.topics import app_ids
from sidecart.launcher.topology import app_of, pod_name_of

COMPONENTS = root() / "components"


def documents(folder: str) -> dict[str, dict[str, Any]]:
    """The components in a folder by name."""
    loaded = [yaml.safe_load(path.read_text()) for path in sorted((COMPONENTS / folder).glob("*.yaml"))]
    return {document["metadata"]["name"]: document for document in loaded if document["kind"] == "Component"}


def metadata(component: dict[str, Any]) -> dict[str, Any]:
    """The settings of a component by name."""
    return {entry["name"]: entry for entry in component["spec"]["metadata"]}


def test_the_run_file_holds_the_apps_of_the_topic_list() -> None:
    """The official CLI and the launcher start the same five apps."""
    assert list(app_ids()) == list(read_apps())


def test_every_path_in_the_run_file_exists() -> None:
    """The folders and the configuration exist at the run file's paths."""
    for app in read_apps().values():
        assert [] == [path for path in (app.folder, app.config, *app.resources) if not path.exists()]


def test_the_ports_of_the_run_file_differ() -> None:
    """No two apps or sidecars use the same port."""
    entries = yaml.safe_load((root() / "dapr.yaml").read_text())["apps"]
    ports = [entry[key] for entry in entries for key in ("appPort", "daprHTTPPort")]

    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("broker", BROKERS)
def test_a_broker_is_swapped_by_one_folder(broker: str) -> None:
    """Only the folders of broker and store change, and they exist."""
    app = read_apps()["gateway"]

    folders = resource_folders(app.resources, broker, "redis")

    assert [COMPONENTS / "policies", COMPONENTS / "brokers" / broker, COMPONENTS / "stores" / "redis"] == list(folders)
    assert all(folder.is_dir() for folder in folders)


@pytest.mark.parametrize("broker", BROKERS)
def test_every_broker_offers_the_same_components(broker: str) -> None:
    """All brokers have the same components and scopes, because other scopes change the shop."""
    components = documents(f"brokers/{broker}").items()
    found = {name: document.get("scopes") for name, document in components if not is_further(name)}

    assert {"pubsub": None, "inbox": None, "replies": ["gateway"], "mailbus": ["notification"]} == found


@pytest.mark.parametrize("broker", BROKERS)
def test_each_gateway_replica_has_its_own_consumer(broker: str) -> None:
    """Every replica receives every reply, and resumes its own group after a restart."""
    assert metadata(documents(f"brokers/{broker}")["replies"])["consumerID"]["value"] == "{podName}"


@pytest.mark.parametrize(("kind", "servers"), [("brokers", BROKERS), ("stores", STORES)])
def test_every_folder_has_a_server(kind: str, servers: Mapping[str, Server]) -> None:
    """components/<kind>/ and the launcher know the same names."""
    assert set(servers) == {path.name for path in (COMPONENTS / kind).iterdir()}


@pytest.mark.parametrize("kind", ["brokers", "stores"])
def test_every_address_comes_from_the_variable_that_the_launcher_sets(kind: str) -> None:
    """A component reads its server's address only from the sidecar's environment."""
    servers: Mapping[str, Server] = {"brokers": BROKERS, "stores": STORES}[kind]
    for name, server in servers.items():
        for component in documents(f"{kind}/{name}").values():
            addresses = {entry["envRef"] for entry in metadata(component).values() if "envRef" in entry}
            assert set(server.variables("host:1")) == addresses - set(topic_scopes.NAMES)


def test_events_are_redelivered_without_limit() -> None:
    """Broker components retry deliveries without limit, unless a broker's folder overrides it."""
    policy = yaml.safe_load((COMPONENTS / "policies" / "resiliency.yaml").read_text())["spec"]
    retry = policy["policies"]["retries"]["forever"]

    assert ("constant", -1) == (retry["policy"], retry["maxRetries"])
    assert {"inbox", "replies", "mailbus"} == set(policy["targets"]["components"])
    assert all(target["inbound"]["retry"] == "forever" for target in policy["targets"]["components"].values())


def test_only_a_broker_that_requeues_may_limit_retries() -> None:
    """Redis would acknowledge and lose the event; RabbitMQ redelivers it, there or at a replica."""
    assert {"rabbitmq"} == {path.parent.name for path in (COMPONENTS / "brokers").glob("*/resiliency.yaml")}
    policy = yaml.safe_load((COMPONENTS / "brokers" / "rabbitmq" / "resiliency.yaml").read_text())["spec"]
    (retry,) = policy["policies"]["retries"].values()
    found = documents("brokers/rabbitmq").items()
    components = {name: metadata(each) for name, each in found if name != PUBSUB and not is_further(name)}

    assert ("constant", "1s") == (retry["policy"], retry["duration"])
    assert set(components) == set(policy["targets"]["components"])
    assert {"true"} == {each["requeueInFailure"]["value"] for each in components.values()}


FOLDERS = [COMPONENTS / "policies", *sorted(COMPONENTS.glob("brokers/*")), *sorted(COMPONENTS.glob("stores/*"))]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_resource_folder_contains_only_yaml(folder: Path) -> None:
    """A sidecar warns at each start about any other file or folder."""
    assert {".yaml"} == {path.suffix for path in folder.iterdir()}


def test_the_resource_folders_are_those_that_a_sidecar_reads() -> None:
    """The test above covers every folder that a sidecar reads."""
    read = {
        folder
        for broker in BROKERS
        for store in STORES
        for folder in resource_folders(read_apps()["gateway"].resources, broker, store)
    }

    assert set(FOLDERS) == read


@pytest.mark.parametrize("path", sorted(COMPONENTS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(COMPONENTS)))
def test_a_file_contains_one_document(path: Any) -> None:
    """The sidecar silently ignores a second document."""
    assert len(list(yaml.safe_load_all(path.read_text()))) == 1


def test_declarations_on_one_broker_agree() -> None:
    """RabbitMQ refuses a second declaration of an exchange or queue that differs from the first."""
    declared = ("durable", "deletedWhenUnused", "exchangeKind", "enableDeadLetter")
    found = [
        tuple(metadata(component)[name]["value"] for name in declared)
        for component in documents("brokers/rabbitmq").values()
    ]

    assert len(set(found)) == 1


EXTERNAL = """\
version: 1
apps:
  - appID: other
    command: ["other"]
  - appID: user
    appDirPath: program
    appPort: 1
    command: ["node", "main.js"]
    env: {PATIENCE: 5}
"""


def test_an_external_program_replaces_ours(tmp_path: Path) -> None:
    """The program replaces folder, command and environment, but not the sidecar's settings."""
    (tmp_path / "dapr.yaml").write_text(EXTERNAL)

    apps = apps_with({"user": tmp_path})

    user, ours = apps["user"], read_apps()["user"]
    assert (tmp_path / "program", ("node", "main.js"), {"PATIENCE": "5"}) == (user.folder, user.command, user.env)
    assert (ours.config, ours.resources) == (user.config, user.resources)
    assert read_apps()["order"] == apps["order"]


@pytest.mark.parametrize(
    ("app_id", "text", "output"),
    [
        ("users", EXTERNAL, "there is no app users: choose from gateway, user"),
        ("user", None, "cannot be read"),
        ("order", EXTERNAL, "not a run file of an app `order`"),
        ("user", "apps: [{appID: user}]", "not a run file of an app `user` with a command"),
        ("user", "apps: 5", "not a run file"),
        ("user", "[", "not a run file"),
        ("user", "", "not a run file"),
    ],
)
def test_an_unusable_replacement_is_reported_in_one_line(
    tmp_path: Path, app_id: str, text: str | None, output: str
) -> None:
    """The error names the file, and nothing starts."""
    if text is not None:
        (tmp_path / "dapr.yaml").write_text(text)

    with pytest.raises(LaunchError, match=output) as raised:
        apps_with({app_id: tmp_path})

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", ["user", "=folder", "user="])
def test_a_malformed_replacement_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The error shows the expected form."""
    assert 2 == main(["run", "--with", value])
    assert f"{value} is not APP=FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("process", "app_id", "pod_name"),
    [
        ("gateway", "gateway", "gateway-0"),
        ("gateway-1", "gateway", "gateway-1"),
        ("gateway-sidecar", "gateway-sidecar", "gateway-sidecar-0"),
        ("order", "order", "order-0"),
        ("order-1", "order", "order-1"),
    ],
)
def test_each_gateway_has_its_own_pod_name(process: str, app_id: str, pod_name: str) -> None:
    """All gateways share one app-id, and each has its own consumer group."""
    assert (app_id, pod_name) == (app_of(process), pod_name_of(process))


def test_the_project_is_the_nearest_folder_with_a_run_file(tmp_path: Path) -> None:
    """The search goes from a folder upward, and ends at the checkout that contains the toolkit."""
    project, checkout = tmp_path / "project", tmp_path / "checkout"
    inner = project / "services" / "order"
    inner.mkdir(parents=True)
    checkout.mkdir()
    (project / "dapr.yaml").touch()

    assert project == find_root(project, checkout)
    assert project == find_root(inner, checkout)
    (checkout / "dapr.yaml").touch()
    assert checkout == find_root(tmp_path, checkout)
    assert checkout == find_root(checkout, project)


def test_a_command_that_needs_a_project_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installed toolkit is in no checkout; without a dapr.yaml the command prints one line."""
    monkeypatch.setattr("sidecart.launcher.project.CHECKOUT", tmp_path)
    monkeypatch.delenv("SIDECART_PROJECT", raising=False)
    monkeypatch.chdir(tmp_path)
    root.cache_clear()
    try:
        code = main(["status"])
    finally:
        root.cache_clear()

    out, err = capsys.readouterr()
    assert (1, "") == (code, out)
    assert f"sidecart: there is no project: neither {tmp_path} nor a folder above it contains dapr.yaml\n" == err


def test_the_variable_names_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`./sidecart` works on its own project, also from a folder with another dapr.yaml."""
    monkeypatch.setenv("SIDECART_PROJECT", str(tmp_path))
    root.cache_clear()
    try:
        assert tmp_path.resolve() == root()
    finally:
        root.cache_clear()


def test_a_project_declares_what_only_it_knows(tmp_path: Path) -> None:
    """The file and the table may be absent; a broken file is named."""
    assert {} == declared(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.sidecart]\nmail_server = 'X'\n")
    assert {"mail_server": "X"} == declared(tmp_path)
    for text in ("[", "[tool]\nsidecart = 5"):
        (tmp_path / "pyproject.toml").write_text(text)
        with pytest.raises(LaunchError, match=r"pyproject\.toml"):
            declared(tmp_path)


def test_a_project_folder_that_does_not_exist_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`reset` would otherwise say that its data are deleted."""
    monkeypatch.setenv("SIDECART_PROJECT", str(tmp_path / "nothing"))
    root.cache_clear()
    try:
        with pytest.raises(LaunchError, match=r"SIDECART_PROJECT names no folder: .*nothing"):
            root()
    finally:
        root.cache_clear()
