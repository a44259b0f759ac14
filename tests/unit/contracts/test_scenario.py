"""A scenario turns commands into every event that follows from them."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from sidecart.chassis.events import Received
from sidecart.chassis.service import Service, Step
from sidecart.contracts.scenario import Flow, Run, read_flows, run
from sidecart.edge.bodies import Strict
from sidecart.edge.declarations import Application, CommandDeclaration, QueryDeclaration
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.topics import Topic

TWO_WICKS = "Ada"
CANDLE = "019bc0fd-89c0-78c9-9e0d-a0c3d985694a"


class Body(Strict):
    """The body of the command, with an optional field."""

    owner: str
    scent: str | None = None


@dataclass
class CandleRequested:
    """The command."""

    candle_id: str
    owner: str
    scent: str | msgspec.UnsetType = msgspec.UNSET


@dataclass
class CandleLit:
    """The event that follows."""

    candle_id: str
    scent: str | msgspec.UnsetType = msgspec.UNSET


def step(_state: Any, _secondary: None, received: Received[Any]) -> Step[dict[str, str]]:
    """Light the candle, one with two wicks twice; refuse the scent of smoke."""
    assert received.event.scent != "smoke", "no smoke"
    lit = CandleLit(received.event.candle_id, received.event.scent)
    return Step({"id": received.event.candle_id}, outputs=(lit, lit) if received.event.owner == TWO_WICKS else (lit,))


SERVICE: Service[Any, Any] = Service.of(
    SimpleNamespace(  # type: ignore[arg-type]  # stands in for a module
        __name__="services.candle.domain",
        State=dict[str, str],
        key=lambda event: f"candle:{event.candle_id}",
        step=step,
        subject=lambda output: output.candle_id,
    ),
    SimpleNamespace(__name__="services.candle.events", INPUTS={"CandleRequested": CandleRequested}),  # type: ignore[arg-type]  # as above
    {"CandleRequested": "gateway"},
)
TOPICS = {
    "CandleRequested": Topic("gateway", ("candle",), "inbox"),
    "CandleLit": Topic("candle", ("gateway",), "inbox"),
}
APPLICATION = Application(
    title="Candles",
    description="",
    folder=Path(),
    commands=(
        CommandDeclaration(
            path="/candle/light",
            summary="",
            body=Body,
            topic="CandleRequested",
            resource="candle_id",
            owner="owner",
            is_for_any_owner=True,
            location="/candle/{candle_id}",
            success="CandleLit",
            answer=msgspec.defstruct("Answer", []),
            answer_schema="candle",
            rejection="CandleRefused",
            problems={},
        ),
    ),
    queries=(QueryDeclaration("/candle/{candle_id}", "candle", "candle", is_public=True),),
)


def made(*flows: Flow) -> Run:
    """Run flows of the candle project."""
    return run(flows, APPLICATION, TOPICS, {"candle": SERVICE})


def flow(name: str = "typical", **fields: Any) -> Flow:
    """Return a flow with a typical body."""
    return Flow(**{"name": name, "topic": "CandleRequested", "resource": CANDLE, "body": {"owner": "Ann"}, **fields})


def test_each_event_of_a_flow_becomes_an_example() -> None:
    """The events have the name of their flow, and times of the scenario's clock."""
    examples = made(flow(), flow("late", delays={"CandleRequested": 60}, key="k", resource="")).examples

    assert [
        ("examples/CandleRequested/typical.json", "2026-01-15T09:30:00.000Z"),
        ("examples/CandleLit/typical.json", "2026-01-15T09:30:00.007Z"),
        ("examples/CandleRequested/late.json", "2026-01-15T09:31:00.000Z"),
        ("examples/CandleLit/late.json", "2026-01-15T09:32:00.007Z"),
    ] == [(each.file, each.event["time"]) for each in examples]
    assert examples[0].event["id"] == examples[1].event["correlationid"]


def test_a_second_event_of_a_topic_in_a_flow_has_a_number() -> None:
    """So a step may publish a topic twice, or two steps of a flow the same topic."""
    examples = made(flow(body={"owner": TWO_WICKS})).examples

    assert ["examples/CandleLit/typical.json", "examples/CandleLit/typical-2.json"] == [
        each.file for each in examples if each.event["type"] == "CandleLit"
    ]


def test_an_absent_optional_field_stays_absent() -> None:
    """It is in no event, and a given one is in all of them."""
    without, with_scent = (
        [each.event["data"] for each in made(flow(body=body)).examples]
        for body in ({"owner": "Ann"}, {"owner": "Ann", "scent": "pine"})
    )

    assert [{"candle_id": CANDLE, "owner": "Ann"}, {"candle_id": CANDLE}] == without
    assert ["pine", "pine"] == [data["scent"] for data in with_scent]


def test_the_records_are_kept_in_sequence() -> None:
    """The record of the service has its state and its outbox."""
    sidecar = made(flow()).sidecars["candle"]

    [(key, value)] = sidecar.saves
    record = json.loads(value)
    assert f"candle:{CANDLE}" == key
    assert {"id": CANDLE} == record["state"]
    assert [["CandleLit"]] == [[each["type"] for each in entry["outputs"]] for entry in record["outbox"].values()]


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (flow(topic="Nothing"), "no command of the gateway publishes Nothing"),
        (flow(body={"owner": 1}), "CandleRequested typical has an invalid body"),
        (flow(body={"owner": "Ann", "scent": "smoke"}), "typical: candle cannot process CandleRequested: .*no smoke"),
    ],
)
def test_a_flow_that_fails_is_named(wrong: Flow, text: str) -> None:
    """The error names contracts/scenario.json and the flow."""
    with pytest.raises(LaunchError, match=f"contracts/scenario.json: {text}"):
        made(wrong)


def test_two_flows_of_one_name_are_an_error() -> None:
    """They would overwrite each other's examples."""
    with pytest.raises(LaunchError, match=r"two events would be contracts/examples/CandleRequested/typical\.json"):
        made(flow(), flow())


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"name": "a", "topic": "b"}, "contracts/scenario.json, entry 1: .*lacks the.* field `body`"),
        ({"name": "a", "topic": "b", "body": {}}, "b a needs `resource` or `key`, and not both"),
        ({"name": "a", "topic": "b", "body": {}, "keys": ""}, "entry 1: .*unknown field `keys`"),
        ({"name": "../evil", "topic": "b", "body": {}, "key": "k"}, "a name has up to 60 of"),
        ({"name": "", "topic": "b", "body": {}, "key": "k"}, "a name has up to 60 of"),
        ({"name": "a", "topic": "b", "body": {}, "resource": "abc"}, "`resource` is no UUID in lower case: abc"),
        ({"name": "a", "topic": "b", "body": {}, "key": "k", "delays": {"Nothing": 1}}, "`delays` has Nothing, which"),
        ({"name": "a", "topic": "b", "body": {}, "key": "k", "delays": {"OrderPaid": -1}}, "the delay of OrderPaid is"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, entry: object, text: str) -> None:
    """The error has the file, the entry and the field."""
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts/scenario.json").write_text(json.dumps([entry]), encoding="utf-8")

    with pytest.raises(LaunchError, match=text):
        read_flows(tmp_path)


def test_a_scenario_without_flows_is_an_error(tmp_path: Path) -> None:
    """It would delete every example."""
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts/scenario.json").write_text("[]", encoding="utf-8")

    with pytest.raises(LaunchError, match=r"contracts/scenario\.json has no flow"):
        read_flows(tmp_path)
