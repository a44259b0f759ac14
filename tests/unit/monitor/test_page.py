"""The browser receives lifelines of all apps, and forms of all calls."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import yaml

from sidecart.launcher import topics
from sidecart.launcher.project import PROJECT, RUN_FILE, root
from sidecart.launcher.topics import CONTRACTS, app_ids, read_topics
from sidecart.monitor import app
from sidecart.monitor.description import Description, read
from sidecart.monitor.event import Event
from sidecart.monitor.gateway_api import parse
from sidecart.monitor.page import lifelines, page
from tests.unit.monitor.described import DESCRIPTION, SeenFlows
from tests.unit.monitor.test_gateway_api import shop_document

CACHES = (root, topics.app_ids, topics.service_ids, topics.read_topics)


@pytest.fixture
def with_bonus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work on a copy of this project with one more app, `bonus`, and its topic."""
    for name in (RUN_FILE, "pyproject.toml"):
        shutil.copy(root() / name, tmp_path)
    for name in (CONTRACTS, "shop"):
        shutil.copytree(root() / name, tmp_path / name, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    run_file = yaml.safe_load((tmp_path / RUN_FILE).read_text())
    run_file["apps"].append(run_file["apps"][1] | {"appID": "bonus", "appPort": 8010, "daprHTTPPort": 3510})
    (tmp_path / RUN_FILE).write_text(yaml.safe_dump(run_file))
    file = tmp_path / CONTRACTS / "topics.json"
    known = json.loads(file.read_text())
    known["OrderPaid"]["consumers"].append("bonus")
    known["BonusGranted"] = {"publisher": "bonus", "consumers": [], "component": "inbox"}
    file.write_text(json.dumps(known))
    monkeypatch.setenv(PROJECT, str(tmp_path))
    for each in CACHES:
        each.cache_clear()
    yield
    for each in CACHES:
        each.cache_clear()


@pytest.mark.usefixtures("with_bonus")
def test_a_new_app_and_its_topic_appear_without_an_edit() -> None:
    """A lifeline, the arrow of its event, and the arrow to it as a consumer."""
    described = read(root(), app_ids(), read_topics())
    flows = SeenFlows(described)
    [paid] = flows.add_event(Event("OrderPaid", "e1", "o1", "c1", ""), 0)
    [granted] = flows.add_event(Event("BonusGranted", "e2", "o1", "c1", "", {"points": 9}), 0)

    assert "Bonus Service" in [each.title for each in lifelines(app_ids(), described)]
    assert {"notification", "bonus"} <= set(paid.step.targets)
    assert ("bonus", (), "points 9", "plain") == (
        granted.step.source,
        granted.step.targets,
        granted.step.note,
        granted.step.tone,
    )
    assert paid.flow.number == granted.flow.number


def test_a_new_call_appears_without_an_edit() -> None:
    """A form for a command and a read for a query, from the gateway's document alone."""
    document = shop_document()
    document["paths"]["/bonus/{user_id}"] = {"get": {"summary": "Read from the bonus service."}}
    document["paths"]["/bonus/grant"] = {"post": document["paths"]["/account/deposit"]["post"]}
    found = page(app_ids(), DESCRIPTION, parse(document))

    assert ["user_id", "amount_cents"] == sorted((field.name for field in found.forms[-1].fields), reverse=True)
    assert ("bonus-grant", "Grant") == (found.forms[-1].id, found.forms[-1].button)
    assert ("/bonus/{user_id}", "resource") == (found.queries[-1].path, found.queries[-1].fields[0].kind)


def test_each_app_has_a_lifeline_without_an_edit() -> None:
    """The columns are the caller, the gateway, the broker, and the apps of dapr.yaml."""
    found = lifelines(["gateway", "desk", "book-keeper"], Description(titles={"desk": "The Desk"}))

    assert [
        ("client", "Client"),
        ("gateway", "Gateway"),
        ("broker", "Message Broker"),
        ("desk", "The Desk"),
        ("book-keeper", "Book Keeper Service"),
    ] == [(each.key, each.title) for each in found]


def test_the_shops_lifelines_end_with_the_mail() -> None:
    """They are those of the sequence diagram."""
    titles = [each.title for each in lifelines(app_ids(), DESCRIPTION)]

    assert ["User", "Gateway", "Message Broker"] == titles[:3]
    assert [f"{each.capitalize()} Service" for each in app_ids()[1:]] == titles[3:-1]
    assert "Mail" == titles[-1]


def test_the_page_has_a_form_for_each_call() -> None:
    """It can be encoded for the browser."""
    api = parse(shop_document())
    found = msgspec.json.decode(msgspec.json.encode(page(app_ids(), DESCRIPTION, api)))

    assert [each.path for each in api.commands] == [each["path"] for each in found["forms"]]
    assert [each.path for each in api.queries] == [each["path"] for each in found["queries"]]
    assert {"UserCreated": {"notification": "Save user info"}, "OrderCreated": {"notification": "Save order info"}} == (
        found["actions"]
    )
    assert "" == found["problem"]


def test_a_page_without_the_gateway_says_so() -> None:
    """The rest of the page works."""
    found = page(app_ids(), Description(), None)

    assert ([], []) == (found.forms, found.queries)
    assert "no OpenAPI document" in found.problem
    assert found.mail is None


def test_the_modules_of_the_page_import_existing_names() -> None:
    """A wrong import would leave the page empty, and only a browser would tell."""
    modules = {path.name: path.read_text(encoding="utf-8") for path in sorted(Path(app.STATIC).glob("*.js"))}
    wrong = []
    for name, text in modules.items():
        for names, source in re.findall(r'import (?:\{([^}]*)\}|\* as \w+) from "\./([\w.]+)";', text):
            if source not in modules:
                wrong.append(f"{name}: there is no {source}")
                continue
            exported = set(
                re.findall(r"^export (?:async )?(?:function|const|class) (\w+)", modules[source], re.MULTILINE)
            )
            wrong += [f"{name}: {each} of {source}" for each in re.findall(r"\w+", names) if each not in exported]

    assert 10 < len(modules)
    assert [] == wrong
