"""A gateway is gone after ten minutes without a break; the settings name its broker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import cast

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers.gone_gateways import GONE_SECONDS, Absences, Remover, chosen
from sidecart.launcher.servers.server import Broker
from sidecart.launcher.topics import Subscription, gateway_subscriptions


def test_a_gateway_is_gone_after_the_time() -> None:
    """Not before, and again at each look until its data is removed."""
    absences = Absences()

    assert [] == absences.gone(["gateway-1"], 0)
    assert [] == absences.gone(["gateway-1", "gateway-2"], GONE_SECONDS - 1)
    assert ["gateway-1"] == absences.gone(["gateway-1", "gateway-2"], GONE_SECONDS)
    assert ["gateway-2"] == absences.gone(["gateway-2"], 2 * GONE_SECONDS)


def test_the_time_can_be_chosen() -> None:
    """An operator whose nodes are slow, or whose gateways scale often, gives another."""
    absences = Absences(60)
    absences.gone(["gateway-1"], 0)

    assert ["gateway-1"] == absences.gone(["gateway-1"], 60)


@pytest.mark.parametrize("after", ["29", "0", "-1", "nan"])
def test_a_time_below_that_of_a_look_is_refused(after: str) -> None:
    """A restart would count as gone."""
    words = [sys.executable, "-m", "sidecart.launcher.servers.gone_gateways", f"--after={after}"]

    found = subprocess.run(words, capture_output=True, text=True, check=False)

    assert 2 == found.returncode
    assert "less than 30 s, the time between two looks" in found.stderr


def test_a_gateway_that_reads_again_is_not_gone() -> None:
    """The time starts again."""
    absences = Absences()
    absences.gone(["gateway-1"], 0)
    absences.gone([], 1)

    assert [] == absences.gone(["gateway-1"], GONE_SECONDS)
    assert {"gateway-1"} == absences.names


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"AMQP_URL": "amqp://a:b@host:5672", "REDIS_HOST": "host:6379"}, ("rabbitmq", "amqp://a:b@host:5672")),
        ({"REDIS_HOST": "host:6379", "AMQP_URL": ""}, ("valkey", "host:6379")),
        (
            {"REDIS_HOST": "host:6379", "REDIS_USERNAME": "keeper", "REDIS_PASSWORD": "p:1"},
            ("valkey", "keeper:p%3A1@host:6379"),
        ),
    ],
)
def test_the_settings_name_the_broker(environ: dict[str, str], expected: tuple[str, str]) -> None:
    """RabbitMQ wins: beside it Redis has the records only."""
    broker, address = chosen(environ)

    assert expected == (broker.names[0], address)


def test_without_a_broker_there_is_nothing_to_do() -> None:
    """The message names the settings."""
    with pytest.raises(LaunchError, match="AMQP_URL or REDIS_HOST"):
        chosen({"REDIS_HOST": ""})


class OneReads:
    """A broker that knows its readers: one gateway reads one kind, others left what they read."""

    def __init__(self, read: list[Subscription], left: list[Subscription]) -> None:
        self.read = read
        self.left = left

    def is_abandoned(
        self,
        _address: str,
        some: Sequence[Subscription],
        _every: Sequence[Subscription],
        read: Sequence[Subscription],
    ) -> bool:
        """Return whether one of these is left and none is read, while the first gateway reads."""
        is_left = any(one in self.left for one in some) and not any(one in self.read for one in some)
        return is_left and any(one in self.read for one in read)

    def remove(self, _address: str, gone: Sequence[Subscription]) -> int:
        """Remove these, and return how many were left."""
        found = [one for one in self.left if one in gone]
        self.left = [one for one in self.left if one not in found]
        return len(found)


@pytest.mark.parametrize("addressed", [True, False])
def test_what_the_first_gateway_read_before_goes_too(addressed: bool) -> None:
    """The number of gateways changed: it reads its own replies now, or the shared ones again."""
    read = gateway_subscriptions("gateway-0", addressed=addressed)
    left = [one for one in gateway_subscriptions("gateway-0", addressed=not addressed) if one not in read]
    broker = OneReads(read, [*left, *gateway_subscriptions("gateway-2", addressed=True)])
    remover = Remover(cast(Broker, broker), "address", gone_seconds=60)

    assert {} == remover.look(0)
    removed = remover.look(60)

    assert [] == broker.left
    kind = "shared replies" if addressed else "own replies"
    others = {"gateway-2: probe", "gateway-2: own replies", "gateway-2: broadcast replies"}
    assert {f"gateway-0: {kind}", *others} == removed.keys()
