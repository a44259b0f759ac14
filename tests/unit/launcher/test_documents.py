"""The launcher names the file, and the place in it, of a document that it cannot use."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecart.launcher import topics as module
from sidecart.launcher.apps import read_apps
from sidecart.launcher.documents import read_json, read_yaml
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.topics import read_topics

RUN_FILE = (root() / "dapr.yaml").read_text("utf-8")
LIST = (root() / "contracts" / "topics.json").read_text("utf-8")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("appPort: 8001", "appPrt: 8001", "dapr.yaml: app user: lacks the field `appPort`"),
        ("appPort: 8001", "appPort: '8001'", "dapr.yaml: app user: Expected `int`, got `str` - at `$.appPort`"),
        ("appPort: 8001", "appPort: 3500", "dapr.yaml: app user: the appPort 3500 is also a port of gateway"),
        ("appID: user", "appID: gateway", "dapr.yaml: app gateway occurs twice"),
        ("appID: user", "appID: user\n    appID: users", "dapr.yaml is not YAML: the key appID occurs twice"),
        ('command: [".venv/bin/python", "-m", "services.user.app"]', "command: []", "dapr.yaml: app user: Expected"),
        ("apps:", "apps: [", "dapr.yaml is not YAML"),
    ],
)
def test_an_unusable_run_file_is_named(tmp_path: Path, old: str, new: str, expected: str) -> None:
    """With the app and the key."""
    assert 1 <= RUN_FILE.count(old)
    file = tmp_path / "dapr.yaml"
    file.write_text(RUN_FILE.replace(old, new, 1))

    with pytest.raises(LaunchError) as raised:
        read_apps(file)
    assert expected in str(raised.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('"component": "inbox"},', '"component": "inbox"}', "contracts/topics.json is not JSON"),
        (', "component": "inbox"', "", "contracts/topics.json: UserCreateRequested: lacks the field `component`"),
        ('"component"', '"komponent"', "UserCreateRequested: has the unknown field `komponent`"),
        ('["user"]', '["user", "user"]', "contracts/topics.json: UserCreateRequested has the consumer user twice"),
        (
            '"inbox"}',
            '"inbox", "broadcast": true}',
            "UserCreateRequested is broadcast to every gateway: add the consumer",
        ),
        ('"UserCreated":', '"UserCreateRequested":', "contracts/topics.json is not JSON: Detected duplicate key"),
    ],
)
def test_an_unusable_topic_list_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, expected: str
) -> None:
    """With the topic and the field."""
    assert old in LIST
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "topics.json").write_text(LIST.replace(old, new, 1))
    monkeypatch.setattr(module, "root", lambda: tmp_path)

    with pytest.raises(LaunchError) as raised:
        read_topics.__wrapped__()
    assert expected in str(raised.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize("read", [read_json, read_yaml])
def test_a_missing_file_is_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    """With the reason of the operating system."""
    with pytest.raises(LaunchError, match="absent cannot be read: No such file"):
        read(tmp_path / "absent")
