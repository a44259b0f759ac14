"""The launcher reads the events and the reads of each Python service from its modules."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from sidecart.launcher.apps import App, read_apps
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.service_code import ServiceCode, module_run_by, read_services, without_names

APPS = read_apps()
EVENTS = """
class WishNoted: ...
Output = WishNoted
INPUTS = {"UserCreated": object}
"""
APP = """
def wire(sidecar):
    return [serve.Read("/wishes/{id}", find), Read("/wishes", find)]
"""


@pytest.fixture
def wishes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> App:
    """An app whose module is in a new package of a temporary folder."""
    monkeypatch.syspath_prepend(tmp_path)
    for name, text in (("__init__", ""), ("events", EVENTS), ("app", APP)):
        file = tmp_path / "wishes" / f"{name}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    for module in [each for each in sys.modules if each.partition(".")[0] == "wishes"]:
        monkeypatch.delitem(sys.modules, module)
    return replace(APPS["user"], app_id="wishes", command=("python", "-m", "wishes.app"))


def test_the_events_and_the_reads_of_a_service_are_found(wishes: App) -> None:
    """A union of one class counts, and so does a call of `Read` through its module."""
    expected = ServiceCode(
        folder="wishes",
        inputs=frozenset({"UserCreated"}),
        outputs=frozenset({"WishNoted"}),
        reads=frozenset({"/wishes/{id}", "/wishes"}),
    )

    assert {"wishes": expected} == read_services({"wishes": wishes})


def test_a_computed_path_leaves_the_reads_unknown(wishes: App, tmp_path: Path) -> None:
    """An unknown set of reads contradicts nothing."""
    (tmp_path / "wishes" / "app.py").write_text('Read(PREFIX + "/{id}", find)')

    assert read_services({"wishes": wishes})["wishes"].reads is None


def test_an_app_in_another_language_declares_nothing_here() -> None:
    """Neither does a module that the project lacks."""
    node = replace(APPS["user"], command=("node", "src/main.js"))
    absent = replace(APPS["user"], command=("python", "-m", "nowhere.at.all"))

    assert module_run_by(node) is None
    assert {} == read_services({"node": node, "absent": absent})


def test_the_names_of_parameters_do_not_count() -> None:
    """The gateway names an id for its callers, the service for itself."""
    assert without_names("/account/{user_id}/deposit/{deposit_id}") == without_names("/account/{u}/deposit/{id}")


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("events", "import nothing_of_this_name", "wishes/events.py cannot be imported: ModuleNotFoundError"),
        ("events", "def", "wishes/events.py cannot be imported: SyntaxError"),
        ("app", "a = 1\ndef", "wishes/app.py, line 2"),
    ],
)
def test_code_that_cannot_be_read_is_named(wishes: App, tmp_path: Path, name: str, text: str, expected: str) -> None:
    """With the error, without a traceback."""
    (tmp_path / "wishes" / f"{name}.py").write_text(text)

    with pytest.raises(LaunchError, match=expected):
        read_services({"wishes": wishes})


def test_a_service_without_outputs_publishes_nothing(wishes: App, tmp_path: Path) -> None:
    """The topic list then contradicts it if it has the service as a publisher."""
    (tmp_path / "wishes" / "events.py").write_text("INPUTS = {}")

    assert frozenset() == read_services({"wishes": wishes})["wishes"].outputs
