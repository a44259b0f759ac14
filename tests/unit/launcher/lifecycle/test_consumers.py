"""Without a known broker, the sidecars' own reports show which subscriptions exist."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecart.launcher.lifecycle import consumers as module
from sidecart.launcher.lifecycle.consumers import BrokerConsumers, ReportedConsumers, consumers_of, subscriptions_in
from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.lifecycle.plan import plan_of
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.topics import Subscription, subscriptions
from sidecart.launcher.topology import readers, sidecar_of
from tests.e2e import component_files


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A system with two Order Services on a folder of components."""
    folder = component_files.write(tmp_path / "mine", "redis", "redis")
    settings = {component_files.BROKER: "b:1", component_files.STORE: "s:1", **component_files.NO_LOGIN}
    options = Options(folder=tmp_path, components=folder, settings=settings, replicas={"order": 2})
    state = State(plan_of(options))
    state.ports |= {sidecar_of(name): number for number, name in enumerate(state.plan.replicas, 1)}
    return state


@pytest.fixture
def reported(state: State, monkeypatch: pytest.MonkeyPatch) -> dict[int, list[Subscription]]:
    """The subscriptions that the sidecar at each port reports; at first all of them."""
    found = {state.ports[sidecar_of(name)]: list(readers([name])) for name in state.plan.replicas}

    def answer(port: int, path: str, token: str, bytes_max: int) -> tuple[int, str]:
        [name] = (each for each in state.plan.replicas if state.ports[sidecar_of(each)] == port)
        assert ("/v1.0/metadata", state.plan.tokens[sidecar_of(name)]) == (path, token)
        if port not in found:
            return 0, ""
        listed = [{"pubsubname": one.component, "topic": one.topic, "type": "PROGRAMMATIC"} for one in found[port]]
        return 200, json.dumps({"id": "x", "subscriptions": listed})

    monkeypatch.setattr(module, "get", answer)
    return found


def test_nothing_is_missing_if_each_sidecar_reports_its_own(
    state: State, reported: dict[int, list[Subscription]]
) -> None:
    """Another app's subscriptions are not expected of a sidecar."""
    expected = readers(state.plan.replicas)

    assert [] == consumers_of(state).missing(list(expected))
    assert [] == consumers_of(state).unread(expected)


def test_a_subscription_that_one_replica_lacks_is_missing(
    state: State, reported: dict[int, list[Subscription]]
) -> None:
    """The other replica's does not count for it."""
    lost = reported[state.ports["order-1-sidecar"]].pop()

    assert [lost] == ReportedConsumers(state).missing(list(readers(state.plan.replicas)))


def test_an_unreachable_sidecar_has_no_subscriptions(state: State, reported: dict[int, list[Subscription]]) -> None:
    """Nothing is known about them."""
    del reported[state.ports["gateway-sidecar"]]
    expected = [one for one in subscriptions("gateway-0") if one.app_id == "gateway"]

    assert expected == ReportedConsumers(state).missing(list(readers(state.plan.replicas)))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"subscriptions": null}', '{"subscriptions": [{}]}', '{"subscriptions": 5}']
)
def test_a_malformed_report_has_no_subscriptions(text: str) -> None:
    """An old or broken sidecar ends the wait by its timeout, with the missing names."""
    assert set() == subscriptions_in(text)


def test_a_known_broker_is_asked_itself(tmp_path: Path) -> None:
    """It also knows of consumers without a sidecar."""
    assert isinstance(consumers_of(State(plan_of(Options("rabbitmq", folder=tmp_path)))), BrokerConsumers)
