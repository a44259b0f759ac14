"""The sources of the topology agree; an error names the file and the contradicting line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from sidecart.edge.declarations import Application, QueryDeclaration
from sidecart.launcher import consistency
from sidecart.launcher.apps import App, read_apps
from sidecart.launcher.consistency import (
    application_of,
    check,
    components_of,
    contradictions,
    unknown_components,
    unlisted_services,
)
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import root
from sidecart.launcher.service_code import ServiceCode, read_services
from sidecart.launcher.topics import Topic, read_topics, service_ids

APPS = read_apps()
SERVICES = read_services(APPS)


@dataclass
class Sources:
    """The sources, of which a test changes one."""

    contracts: Path
    apps: dict[str, App] = field(default_factory=lambda: dict(APPS))
    topics: dict[str, Topic] = field(default_factory=lambda: dict(read_topics()))
    application: Application = field(default_factory=lambda: application_of(APPS))
    services: dict[str, ServiceCode] = field(default_factory=lambda: dict(SERVICES))

    def found(self) -> list[str]:
        """Return the contradictions."""
        return list(contradictions(self.apps, self.topics, self.application, self.services, self.contracts))


@pytest.fixture
def sources(tmp_path: Path) -> Sources:
    """The sources of the project, with a copy of contracts/."""
    return Sources(Path(shutil.copytree(root() / "contracts", tmp_path / "contracts")))


def without_an_app(sources: Sources) -> None:
    """dapr.yaml lacks the Notification Service."""
    del sources.apps["notification"]


def with_another_app(sources: Sources) -> None:
    """dapr.yaml has an app that nothing else knows."""
    sources.apps["wishlist"] = replace(APPS["user"], app_id="wishlist", command=("python", "-m", "services.wishes.app"))


def with_another_topic(sources: Sources) -> None:
    """The topic list has a topic without a schema, which its publisher does not publish."""
    sources.topics["WishNoted"] = Topic("order", (), "inbox")


def without_a_topic(sources: Sources) -> None:
    """The topic list lacks a topic that has a schema and a publisher."""
    del sources.topics["BillingAccountCreated"]


def without_a_consumer(sources: Sources) -> None:
    """The topic list lacks a consumer."""
    sources.topics["OrderPaid"] = replace(read_topics()["OrderPaid"], consumers=())


def without_an_input(sources: Sources) -> None:
    """A service lacks an input."""
    sources.services["notification"] = replace(
        SERVICES["notification"], inputs=SERVICES["notification"].inputs - {"OrderPaid"}
    )


def without_a_reply(sources: Sources) -> None:
    """The gateway does not consume a reply."""
    sources.topics["OrderCreated"] = replace(read_topics()["OrderCreated"], consumers=("notification",))


def without_a_command(sources: Sources) -> None:
    """The gateway lacks a declaration."""
    commands = sources.application.commands[:-1]
    sources.application = replace(sources.application, commands=commands)


def with_a_command_of_another_publisher(sources: Sources) -> None:
    """The topic list gives a command another publisher."""
    sources.topics["OrderCreateRequested"] = replace(read_topics()["OrderCreateRequested"], publisher="billing")


def with_another_query(sources: Sources) -> None:
    """The gateway reads from an app that does not exist, an answer without a schema."""
    query = QueryDeclaration("/wishlist/{user_id}", app_id="wishlist", schema="wishes", owner="user_id")
    sources.application = replace(sources.application, queries=(*sources.application.queries, query))


def without_a_query(sources: Sources) -> None:
    """The gateway lacks a query that a service answers."""
    queries = tuple(each for each in sources.application.queries if each.app_id != "notification")
    sources.application = replace(sources.application, queries=queries)


def without_a_read(sources: Sources) -> None:
    """A service does not answer a query, nor whether a flow has ended."""
    sources.services["notification"] = replace(SERVICES["notification"], reads=frozenset({"/unfinished/user/{ids}"}))


def with_another_read(sources: Sources) -> None:
    """A service answers for a flow that no command starts."""
    sources.services["user"] = replace(
        SERVICES["user"], reads=frozenset({"/user/{user_id}", "/unfinished/wishes/{ids}"})
    )


def with_another_schema(sources: Sources) -> None:
    """contracts/ describes a topic and an answer that nothing else knows."""
    for name in ("schemas/WishNoted.json", "http/wishes.json"):
        (sources.contracts / name).write_text("{}")


def test_the_project_does_not_contradict_itself(sources: Sources) -> None:
    """Every Python service was read, with its events and its reads."""
    assert [] == sources.found()
    assert set(service_ids()) == set(sources.services)
    assert all(each.inputs and each.outputs and each.reads for each in sources.services.values())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (without_an_app, "dapr.yaml: no app notification, but UserCreated has it (contracts/topics.json)"),
        (without_an_app, "dapr.yaml: no app notification, which the gateway calls (gateway/queries.py)"),
        (
            with_another_app,
            "contracts/topics.json: the app wishlist of dapr.yaml neither publishes nor consumes a topic",
        ),
        (with_another_app, "dapr.yaml: the app wishlist runs services.wishes.app, and there is no such module"),
        (with_another_topic, "contracts/schemas/WishNoted.json is missing: WishNoted is in contracts/topics.json"),
        (with_another_topic, "contracts/examples/WishNoted is missing: WishNoted is in contracts/topics.json"),
        (
            with_another_topic,
            "services/order/events.py: Output lacks WishNoted, which order publishes (contracts/topics.json)",
        ),
        (
            without_a_topic,
            "contracts/topics.json: no topic BillingAccountCreated, "
            "which contracts/schemas/BillingAccountCreated.json describes",
        ),
        (
            without_a_topic,
            "contracts/topics.json: no topic BillingAccountCreated with the publisher billing, "
            "whose Output has it (services/billing/events.py)",
        ),
        (
            without_a_consumer,
            "contracts/topics.json: OrderPaid lacks the consumer notification, "
            "whose INPUTS has it (services/notification/events.py)",
        ),
        (
            without_an_input,
            "services/notification/events.py: INPUTS lacks OrderPaid, "
            "which notification consumes (contracts/topics.json)",
        ),
        (
            without_a_reply,
            "contracts/topics.json: OrderCreated must have the consumer gateway: it answers POST /order/create",
        ),
        (
            without_a_command,
            "gateway/commands.py: no command publishes OrderCreateRequested, "
            "whose publisher is the gateway (contracts/topics.json)",
        ),
        (
            without_a_command,
            "gateway/commands.py: no flow reads /unfinished/order/{ids}, "
            "which notification answers (services/notification/app.py)",
        ),
        (
            with_a_command_of_another_publisher,
            "contracts/topics.json: OrderCreateRequested must have the publisher gateway: "
            "POST /order/create publishes it",
        ),
        (with_another_query, "dapr.yaml: no app wishlist, which the gateway calls (gateway/queries.py)"),
        (
            with_another_query,
            "contracts/http/wishes.json is missing: it describes the answer of /wishlist/{user_id}",
        ),
        (
            without_a_query,
            "gateway/queries.py: no query reads /notification/{user_id}, "
            "which notification answers (services/notification/app.py)",
        ),
        (
            without_a_query,
            "gateway/queries.py: no call has the answer notifications (contracts/http/notifications.json)",
        ),
        (
            without_a_read,
            "services/notification/app.py: no Read of /notification/{user_id}, which the gateway calls",
        ),
        (
            without_a_read,
            "services/notification/app.py: no Read of /unfinished/order/{ids}, which the gateway calls",
        ),
        (
            with_another_read,
            "gateway/commands.py: no flow reads /unfinished/wishes/{ids}, which user answers (services/user/app.py)",
        ),
        (
            with_another_schema,
            "contracts/topics.json: no topic WishNoted, which contracts/schemas/WishNoted.json describes",
        ),
        (with_another_schema, "gateway/queries.py: no call has the answer wishes (contracts/http/wishes.json)"),
    ],
)
def test_a_contradiction_names_the_file_to_change(
    sources: Sources, change: Callable[[Sources], None], expected: str
) -> None:
    """With the name that the file lacks."""
    change(sources)

    assert expected in sources.found()


def test_the_start_fails_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """One message, before anything starts."""
    changed = {**read_topics(), "WishNoted": Topic("wishlist", (), "inbox")}
    monkeypatch.setattr(consistency, "read_topics", lambda: changed)

    with pytest.raises(LaunchError, match="the project contradicts itself") as raised:
        check()
    assert 4 == len(str(raised.value).splitlines())


def test_a_component_that_no_file_defines_is_named() -> None:
    """A topic on an unknown component would reach no consumer."""
    known = components_of(APPS)

    assert {"pubsub", "inbox", "replies", "mailbus", "statestore"} == set(known)
    assert [] == list(unknown_components(read_topics(), known))
    assert ["contracts/topics.json: WishNoted has the component inbx, which no file of components/ defines"] == list(
        unknown_components({"WishNoted": Topic("user", (), "inbx")}, known)
    )


def test_a_service_that_no_app_runs_is_named(tmp_path: Path) -> None:
    """Its code would exist, and nothing would start it."""
    for name in ("wishes", "user"):
        (tmp_path / "services" / name).mkdir(parents=True)
        (tmp_path / "services" / name / "app.py").touch()

    assert ["dapr.yaml: no app runs services/wishes/app.py"] == list(unlisted_services(APPS, tmp_path))
    assert [] == list(unlisted_services(APPS, root()))


def test_a_run_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """Also one that is no run file."""
    for text, problem in (
        (None, "cannot be read"),
        ("a: [", "is not YAML"),
        ("version: 1", "lacks the field `common`"),
    ):
        file = tmp_path / "dapr.yaml"
        if text is not None:
            file.write_text(text)
        with pytest.raises(LaunchError, match=problem):
            read_apps(file)
