"""dapr.yaml, components/ and the launcher agree with each other."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.__main__ import main
from cli.errors import LaunchError
from cli.project import ROOT, read_apps, resource_folders
from cli.servers.registry import BROKERS, STORES
from cli.shop import apps_with
from cli.topics import APPS
from cli.topology import app_of, pod_name_of

COMPONENTS = ROOT / "components"


def documents(folder: str) -> dict[str, dict[str, Any]]:
    """The components of a folder by name."""
    loaded = [yaml.safe_load(path.read_text()) for path in sorted((COMPONENTS / folder).glob("*.yaml"))]
    return {document["metadata"]["name"]: document for document in loaded if document["kind"] == "Component"}


def metadata(component: dict[str, Any]) -> dict[str, Any]:
    """The settings of a component by name."""
    return {entry["name"]: entry for entry in component["spec"]["metadata"]}


def test_the_run_file_holds_the_apps_of_the_topic_list() -> None:
    """The official CLI and the launcher start the same five apps."""
    assert list(APPS) == list(read_apps())


def test_every_path_in_the_run_file_exists() -> None:
    """Folders and the configuration are where the run file says."""
    for app in read_apps().values():
        assert [] == [path for path in (app.folder, app.config, *app.resources) if not path.exists()]


def test_the_ports_of_the_run_file_differ() -> None:
    """No two apps or sidecars want the same port."""
    entries = yaml.safe_load((ROOT / "dapr.yaml").read_text())["apps"]
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
    """The same names with the same scopes: what is scoped differently would be another shop."""
    found = {name: document.get("scopes") for name, document in documents(f"brokers/{broker}").items()}

    assert {"pubsub": None, "inbox": None, "replies": ["gateway"], "mailbus": ["notification"]} == found


@pytest.mark.parametrize("broker", BROKERS)
def test_each_gateway_replica_has_its_own_consumer(broker: str) -> None:
    """Every replica gets every reply, and takes its own group up again after a restart."""
    assert metadata(documents(f"brokers/{broker}")["replies"])["consumerID"]["value"] == "{podName}"


@pytest.mark.parametrize(("kind", "servers"), [("brokers", BROKERS), ("stores", STORES)])
def test_every_folder_has_a_server_that_starts_and_counts_it(kind: str, servers: dict[str, Any]) -> None:
    """components/<kind>/ and the launcher know the same names."""
    assert set(servers) == {path.name for path in (COMPONENTS / kind).iterdir()}


@pytest.mark.parametrize("kind", ["brokers", "stores"])
def test_every_address_comes_from_the_variable_that_the_launcher_sets(kind: str) -> None:
    """A component reads its server's address from the sidecar's environment and nowhere else."""
    brokers = {name: broker.server for name, broker in BROKERS.items()}
    for name, server in {"brokers": brokers, "stores": STORES}[kind].items():
        for component in documents(f"{kind}/{name}").values():
            addresses = {entry["envRef"] for entry in metadata(component).values() if "envRef" in entry}
            assert {server.env} == addresses


def test_events_are_offered_without_end() -> None:
    """Every broker component has an inbound retry that never gives up, unless its broker's folder says otherwise."""
    policy = yaml.safe_load((COMPONENTS / "policies" / "resiliency.yaml").read_text())["spec"]
    retry = policy["policies"]["retries"]["forever"]

    assert ("constant", -1) == (retry["policy"], retry["maxRetries"])
    assert {"inbox", "replies", "mailbus"} == set(policy["targets"]["components"])
    assert all(target["inbound"]["retry"] == "forever" for target in policy["targets"]["components"].values())


def test_only_a_queue_that_takes_an_event_back_may_have_retries_that_end() -> None:
    """On Redis the event would be acknowledged and lost; on RabbitMQ it comes again, there or at a replica."""
    assert {"rabbitmq"} == {path.parent.name for path in (COMPONENTS / "brokers").glob("*/resiliency.yaml")}
    policy = yaml.safe_load((COMPONENTS / "brokers" / "rabbitmq" / "resiliency.yaml").read_text())["spec"]
    (retry,) = policy["policies"]["retries"].values()
    components = {name: metadata(each) for name, each in documents("brokers/rabbitmq").items() if name != "pubsub"}

    assert ("constant", "1s") == (retry["policy"], retry["duration"])
    assert set(components) == set(policy["targets"]["components"])
    assert {"true"} == {each["requeueInFailure"]["value"] for each in components.values()}


FOLDERS = [COMPONENTS / "policies", *sorted(COMPONENTS.glob("brokers/*")), *sorted(COMPONENTS.glob("stores/*"))]


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_folder_of_resources_holds_yaml_alone(folder: Path) -> None:
    """A sidecar warns at each start of everything else, of folders too."""
    assert {".yaml"} == {path.suffix for path in folder.iterdir()}


def test_the_folders_of_resources_are_those_that_a_sidecar_reads() -> None:
    """So that none of them is left out of the test above."""
    read = {
        folder
        for broker in BROKERS
        for store in STORES
        for folder in resource_folders(read_apps()["gateway"].resources, broker, store)
    }

    assert set(FOLDERS) == read


@pytest.mark.parametrize("path", sorted(COMPONENTS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(COMPONENTS)))
def test_a_file_holds_one_document(path: Any) -> None:
    """A second document is ignored by the sidecar without a word."""
    assert len(list(yaml.safe_load_all(path.read_text()))) == 1


def test_declarations_on_one_broker_agree() -> None:
    """RabbitMQ refuses a second declaration of an exchange or queue that differs from the first."""
    declared = ("durable", "deletedWhenUnused", "exchangeKind", "enableDeadLetter")
    found = [
        tuple(metadata(component)[name]["value"] for name in declared)
        for component in documents("brokers/rabbitmq").values()
    ]

    assert len(set(found)) == 1


FOREIGN = """\
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


def test_a_foreign_program_takes_the_place_of_ours(tmp_path: Path) -> None:
    """Its own folder, command and environment; what the sidecar is told stays ours, and so do the other apps."""
    (tmp_path / "dapr.yaml").write_text(FOREIGN)

    apps = apps_with({"user": tmp_path})

    user, ours = apps["user"], read_apps()["user"]
    assert (tmp_path / "program", ("node", "main.js"), {"PATIENCE": "5"}) == (user.folder, user.command, user.env)
    assert (ours.config, ours.resources) == (user.config, user.resources)
    assert read_apps()["order"] == apps["order"]


@pytest.mark.parametrize(
    ("app_id", "text", "output"),
    [
        ("users", FOREIGN, "there is no app users: choose from gateway, user"),
        ("user", None, "cannot be read"),
        ("order", FOREIGN, "no run file of an app `order`"),
        ("user", "apps: [{appID: user}]", "no run file of an app `user` with a command"),
        ("user", "apps: 5", "no run file"),
        ("user", "[", "no run file"),
        ("user", "", "no run file"),
    ],
)
def test_a_foreign_program_that_is_none_is_said_in_one_line(
    tmp_path: Path, app_id: str, text: str | None, output: str
) -> None:
    """With the file to look at; nothing is started."""
    if text is not None:
        (tmp_path / "dapr.yaml").write_text(text)

    with pytest.raises(LaunchError, match=output) as raised:
        apps_with({app_id: tmp_path})

    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("value", ["user", "=folder", "user="])
def test_what_is_no_replacement_is_refused(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With the form that it should have."""
    with pytest.raises(SystemExit):
        main(["run", "--with", value])

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
def test_a_further_gateway_goes_by_its_pod_name(process: str, app_id: str, pod_name: str) -> None:
    """All gateways have one app-id, and each has a consumer group of its own."""
    assert (app_id, pod_name) == (app_of(process), pod_name_of(process))
