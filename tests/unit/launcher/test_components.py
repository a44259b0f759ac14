"""A folder of components must have what the apps use."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.launcher.apps import read_apps, with_components
from sidecart.launcher.components import check, read_components, uses_of, variables_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import app_ids, service_ids
from tests.e2e import component_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with everything that the apps use."""
    return component_files.write(tmp_path / "mine", "rabbitmq", "postgres")


def checked(folder: Path) -> None:
    """Check the folder for all apps."""
    found = read_components(folder)
    check(folder, found, uses_of(app_ids(), (each.name for each in found)))


def test_a_complete_folder_is_accepted(folder: Path) -> None:
    """Other documents than components are left to the sidecars."""
    checked(folder)

    assert {"pubsub", "inbox", "replies", "mailbus", "statestore"} == {each.name for each in read_components(folder)}


def test_the_uses_come_from_the_topic_list() -> None:
    """Every app publishes and has a store; gateways read replies, and services their inbox."""
    uses = uses_of(app_ids())

    assert ("state", app_ids()) == (uses["statestore"].kind, uses["statestore"].apps)
    assert app_ids() == uses["pubsub"].apps
    assert ("gateway",) == uses["replies"].apps
    assert set(service_ids()) == set(uses["inbox"].apps)
    assert {"pubsub", "statestore"} == set(uses_of([]))
    assert {"pubsub", "pubsub-2", "statestore"} == set(uses_of([], ["inbox", "pubsub", "pubsub-2", "pubsub-slow"]))


@pytest.mark.parametrize("name", ["pubsub", "inbox", "replies", "mailbus", "statestore"])
def test_a_missing_component_is_named_with_the_folder_and_its_users(folder: Path, name: str) -> None:
    """The message names all of them at once."""
    (folder / f"{name}.yaml").unlink()

    with pytest.raises(
        LaunchError, match=rf"{folder} does not fit the apps:\n  {folder}: no component `{name}` .*used by"
    ):
        checked(folder)


def test_a_component_of_another_kind_is_named_with_its_file(folder: Path) -> None:
    """A store under the name of a broker would fail at the first event."""
    file = folder / "inbox.yaml"
    file.write_text(file.read_text().replace("pubsub.rabbitmq", "state.redis"))

    with pytest.raises(LaunchError, match=rf"{file}: `inbox` is state.redis, but the apps need pubsub\.\*"):
        checked(folder)


def test_a_scope_without_a_user_is_named(folder: Path) -> None:
    """The sidecar of that app would not load the component."""
    with (folder / "mailbus.yaml").open("a") as file:
        file.write("scopes: [gateway]\n")

    with pytest.raises(LaunchError, match=r"mailbus\.yaml: the scopes of `mailbus` lack notification"):
        checked(folder)


def test_a_further_component_to_publish_is_checked_as_the_first(folder: Path) -> None:
    """Every app publishes on it."""
    text = (folder / "pubsub.yaml").read_text().replace("name: pubsub\n", "name: pubsub-2\n")
    (folder / "pubsub-2.yaml").write_text(text)
    checked(folder)

    (folder / "pubsub-2.yaml").write_text(f"{text}scopes: [gateway, user, billing, order]\n")
    with pytest.raises(LaunchError, match=r"pubsub-2\.yaml: the scopes of `pubsub-2` lack notification"):
        checked(folder)


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("[", "is not YAML"),
        ("kind: Component\nmetadata: {name: x}\n", "incomplete component"),
        ("kind: Component\nmetadata: 5\nspec: {type: x}\n", "incomplete component"),
    ],
)
def test_an_unreadable_file_is_named(folder: Path, text: str, output: str) -> None:
    """Nothing starts with a file that a sidecar would refuse."""
    (folder / "odd.yml").write_text(text)

    with pytest.raises(LaunchError, match=rf"odd\.yml .*{output}"):
        read_components(folder)


def test_the_folder_must_exist(tmp_path: Path) -> None:
    """A typo is no empty folder."""
    with pytest.raises(LaunchError, match="is not a folder of component files"):
        read_components(tmp_path / "none")


def test_the_components_receive_their_variables_and_no_other(folder: Path) -> None:
    """The names are the folder's own; POD_NAME comes from the launcher."""
    (folder / "named.yaml").write_text(
        "kind: Component\nmetadata: {name: n}\n"
        "spec: {type: pubsub.x, metadata: [{name: a, envRef: POD_NAME}, {name: b, value: c}]}\n"
    )
    components = read_components(folder)
    environ = {component_files.BROKER: "b", component_files.STORE: "s", "OTHER": "o"}

    assert {component_files.BROKER: "b", component_files.STORE: "s"} == variables_of(components, environ)
    with pytest.raises(LaunchError, match=rf"statestore.yaml: the environment lacks {component_files.STORE}"):
        variables_of(components, {component_files.BROKER: "b"})


def test_the_folder_is_read_last(folder: Path) -> None:
    """Its resiliency policies override those of the project, whose policies stay."""
    first, last = with_components(read_apps()["gateway"].resources, folder)

    assert ("policies", folder) == (first.name, last)
