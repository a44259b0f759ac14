"""The sources of the topology agree; an error names the file and the contradicting line."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sidecart.edge.declarations import Application, QueryDeclaration
from sidecart.launcher import consistency
from sidecart.launcher.apps import App, read_apps
from sidecart.launcher.consistency import application_of, check, contradictions, inputs_of
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.topics import Topic, read_topics

APPS = read_apps()


@dataclass
class Sources:
    """The sources, of which a test changes one."""

    apps: dict[str, App] = field(default_factory=lambda: dict(APPS))
    topics: dict[str, Topic] = field(default_factory=lambda: dict(read_topics()))
    application: Application = field(default_factory=lambda: application_of(APPS))
    inputs: dict[str, tuple[str, set[str]]] = field(
        default_factory=lambda: {app: (file, set(known)) for app, (file, known) in inputs_of(APPS).items()}
    )

    def found(self) -> list[str]:
        """Return the contradictions."""
        return list(contradictions(self.apps, self.topics, self.application, self.inputs, root() / "contracts"))


def without_an_app(sources: Sources) -> None:
    """dapr.yaml lacks the Notification Service."""
    del sources.apps["notification"]


def with_another_app(sources: Sources) -> None:
    """dapr.yaml has an app that nothing else knows."""
    sources.apps["loyalty"] = replace(APPS["user"], app_id="loyalty", command=("python", "-m", "services.loyalty.app"))


def with_another_topic(sources: Sources) -> None:
    """The topic list has a topic without a schema."""
    sources.topics["PointsEarned"] = Topic("order", (), "inbox")


def without_a_consumer(sources: Sources) -> None:
    """The topic list lacks a consumer."""
    sources.topics["OrderPaid"] = replace(read_topics()["OrderPaid"], consumers=())


def without_an_input(sources: Sources) -> None:
    """A service lacks an input."""
    sources.inputs["notification"][1].remove("OrderPaid")


def without_a_reply(sources: Sources) -> None:
    """The gateway does not consume a reply."""
    sources.topics["OrderCreated"] = replace(read_topics()["OrderCreated"], consumers=("notification",))


def without_a_command(sources: Sources) -> None:
    """The gateway lacks a declaration."""
    commands = sources.application.commands[:-1]
    sources.application = replace(sources.application, commands=commands)


def with_another_query(sources: Sources) -> None:
    """The gateway reads from an app that does not exist, an answer without a schema."""
    query = QueryDeclaration("/loyalty/{user_id}", app_id="loyalty", schema="points")
    sources.application = replace(sources.application, queries=(*sources.application.queries, query))


def test_the_project_does_not_contradict_itself() -> None:
    """Every Python service was read."""
    assert [] == Sources().found()
    assert {"user", "billing", "order", "notification"} == set(Sources().inputs)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without_an_app, r"dapr\.yaml: no app notification, but UserCreated has it"),
        (without_an_app, r"dapr\.yaml: no app notification, which the gateway calls \(gateway/queries\.py\)"),
        (with_another_app, r"contracts/topics\.json: the app loyalty of dapr\.yaml neither publishes nor consumes"),
        (with_another_app, r"dapr\.yaml: the app loyalty runs services\.loyalty\.app, and there is no such module"),
        (with_another_topic, r"contracts/schemas/PointsEarned\.json is missing"),
        (with_another_topic, r"contracts/examples/PointsEarned is missing"),
        (without_a_consumer, r"contracts/topics\.json: OrderPaid lacks the consumer notification"),
        (without_an_input, r"services/notification/events\.py: INPUTS lacks OrderPaid"),
        (without_a_reply, r"OrderCreated must have the consumer gateway: it answers POST /order/create"),
        (without_a_command, r"gateway/commands\.py: no command publishes OrderCreateRequested"),
        (with_another_query, r"dapr\.yaml: no app loyalty, which the gateway calls"),
        (with_another_query, r"contracts/http/points\.json is missing: it describes the answer of /loyalty"),
    ],
)
def test_a_contradiction_names_the_file_to_change(change: Callable[[Sources], None], expected: str) -> None:
    """With the name that the file lacks."""
    sources = Sources()
    change(sources)

    assert any(re.match(expected, each) or re.search(expected, each) for each in sources.found()), sources.found()


def test_the_start_fails_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, before anything starts."""
    changed = {**read_topics(), "PointsEarned": Topic("loyalty", (), "inbox")}
    monkeypatch.setattr(consistency, "read_topics", lambda: changed)

    with pytest.raises(LaunchError, match="the project contradicts itself") as raised:
        check()
    assert 4 == len(str(raised.value).splitlines())


def test_a_run_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Also one that is no run file."""
    for text, problem in ((None, "cannot be read"), ("a: [", "is not YAML"), ("version: 1", "lacks 'apps'")):
        file = tmp_path / "dapr.yaml"
        if text is not None:
            file.write_text(text)
        with pytest.raises(LaunchError, match=problem):
            read_apps(file)
