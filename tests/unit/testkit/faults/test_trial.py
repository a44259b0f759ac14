"""Tests of the faults of a trial: its kind decides them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.topics import read_topics
from sidecart.testkit.faults.bookkeeping import Bookkeeping
from sidecart.testkit.faults.load import Plan, Requests
from sidecart.testkit.faults.proxied import ProxiedSystem
from sidecart.testkit.faults.schedule import SHORT
from sidecart.testkit.faults.trial import Trial, kinds_of, with_faults
from tests.unit.testkit.faults.lamps import LampBooks

LINKS = ("entrance", "mail", "order", "user-sidecar", "user-sidecar-grpc", "order-sidecar-grpc")


def books(_system: System) -> Bookkeeping:
    """Return bookkeeping of lamps."""
    return LampBooks()


TRIAL = Trial(
    "rabbitmq", "postgres", 1, SHORT, Plan(1, 0, 0.0, clients=1, seconds=60.0), lambda: cast(Requests, None), (), books
)


def test_unparseable_messages_reach_every_topic_with_consumers() -> None:
    """contracts/ lists the topics, so a new one needs no line."""
    faults = with_faults(replace(TRIAL, kind="unparseable")).faults

    assert isinstance(faults, tuple)
    assert {name for name, topic in read_topics().items() if topic.consumers} == {
        target for fault in faults for target in fault.targets
    }


def test_a_lossy_network_is_between_the_apps_and_the_broker() -> None:
    """Only the broker is reached through a link."""
    trial = with_faults(replace(TRIAL, kind="lossy"))

    assert (True, False) == (trial.linked("rabbitmq"), trial.linked("postgres"))


def test_each_link_of_a_faulty_network_is_hit_unless_its_app_uses_the_other_api() -> None:
    """A sidecar has two ports, of which a service uses one."""
    links = {name: SimpleNamespace(is_used=name.startswith("order")) for name in LINKS}
    planned = with_faults(replace(TRIAL, kind="network")).faults
    assert callable(planned)
    faults = planned(cast(ProxiedSystem, SimpleNamespace(network=SimpleNamespace(links=links))))

    assert {"entrance", "mail", "order", "order-sidecar-grpc"} == {name for fault in faults for name in fault.targets}


def test_kills_are_drawn_when_the_processes_are_known() -> None:
    """None stands for kills and freezes of every process."""
    assert with_faults(TRIAL).faults is None


@pytest.mark.parametrize("kind", ["rollback", "earthquake"])
def test_an_impossible_kind_is_an_error(kind: str) -> None:
    """A rollback needs a store that keeps what the broker loses."""
    assert "rollback" not in kinds_of("all", TRIAL.broker, TRIAL.store)
    with pytest.raises(LaunchError):
        with_faults(replace(TRIAL, kind=kind))
