"""What ends is started again: at once, then later and later, and not for ever; sidecars wait for their servers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from cli.errors import LaunchError
from cli.supervisor import ENDS_MAX, LOOK_SECONDS, LOST_SECONDS, STEADY_SECONDS, Supervisor
from cli.topics import Subscription
from cli.topology import readers


class FakeShop:
    """Processes that end when they are told to."""

    logs = Path("logs")
    replicas = ("gateway", "order", "order-1")

    def __init__(self) -> None:
        self.dead: dict[str, int] = {}
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.servers_problem: str | None = None
        self.lost: list[Subscription] | OSError = []
        self.silent: list[str] = []
        self.spare: set[str] = set()

    def start_again(self, name: str) -> None:
        """Start one that does not run."""
        assert name in self.dead or name.removesuffix("-sidecar") in self.stopped, f"{name} is running already"
        self.dead.pop(name, None)
        self.started.append(name)

    def stop_sidecar(self, name: str, seconds: float) -> None:
        """Stop one, soon."""
        assert seconds < STEADY_SECONDS
        self.stopped.append(name)

    def problem_of_servers(self) -> str | None:
        """Whether sidecars could live."""
        return self.servers_problem

    def last_lines(self, name: str) -> list[str]:
        """The end of a log."""
        return [f"{name} says goodbye"]

    def give_up(self, name: str) -> Sequence[str]:
        """Do without all of those, if it is one of them."""
        if name not in self.spare:
            return ()
        self.dead = {each: code for each, code in self.dead.items() if each not in self.spare}
        return sorted(self.spare)

    def unread_subscriptions(self) -> list[Subscription]:
        """What nobody reads."""
        if isinstance(self.lost, OSError):
            raise self.lost
        return self.lost

    def unresponsive_sidecars(self) -> list[str]:
        """Whose sidecar does not answer."""
        return self.silent


class Watch:
    """A supervisor of a fake shop, with a clock of its own."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.shop = FakeShop()
        self.output: list[str] = []
        self.changes = 0
        self.supervisor = Supervisor(
            self.shop,  # type: ignore[arg-type]  # what of a shop the supervisor needs
            self.output.append,
            self._change,
            lambda: self.now,
        )

    def _change(self) -> None:
        self.changes += 1

    def end(self, name: str) -> None:
        """Let a process end."""
        self.shop.dead[name] = -9

    def look(self, seconds: float = 0.0) -> list[str]:
        """Let time pass, look, and return who was started."""
        self.now += seconds
        before = len(self.shop.started)
        self.supervisor.look()
        return self.shop.started[before:]


@pytest.fixture
def watch() -> Watch:
    """One that has just begun."""
    return Watch()


def test_who_ends_is_started_again_at_once_and_it_is_said(watch: Watch) -> None:
    """With its exit code and where to read on; whoever keeps the list of processes is told."""
    watch.end("order")

    assert ["order"] == watch.look()
    assert (1, 1) == (watch.changes, watch.supervisor.restarts)
    assert ["order ended with code -9: it is started again now (see logs/order.log)"] == watch.output
    assert [] == watch.look(60)


def test_who_ends_again_and_again_waits_longer_and_longer(watch: Watch) -> None:
    """Not at all, then one second, two, four; who has lived for a while begins anew."""
    pauses = []
    for _ in range(4):
        watch.end("order")
        pause = 0.0
        while not watch.look(0.5):
            pause += 0.5
        pauses.append(pause)
    watch.now += STEADY_SECONDS + 1
    watch.end("order")

    assert [0.0, 1.0, 2.0, 4.0] == pauses
    assert ["order"] == watch.look()


def test_a_shop_goes_on_without_what_it_does_not_need(watch: Watch) -> None:
    """The live page that never lives is left out, which is said, once."""
    watch.shop.spare = {"monitor"}
    while not any("the shop goes on without it" in line for line in watch.output):
        watch.end("monitor")
        watch.look(0.5)
    before = (list(watch.shop.started), list(watch.output))
    watch.look(60)

    assert ENDS_MAX == before[0].count("monitor")
    assert before == (watch.shop.started, watch.output)


def test_who_never_lives_is_given_up(watch: Watch) -> None:
    """With the end of its log: it will not get better by itself."""

    def end_for_ever() -> None:
        while True:
            watch.end("order")
            watch.look(0.5)

    with pytest.raises(LaunchError, match=f"order ended {ENDS_MAX + 1} times in a row(.|\n)*says goodbye"):
        end_for_ever()

    assert ENDS_MAX == watch.shop.started.count("order")


def test_servers_are_started_before_the_sidecars_that_need_them(watch: Watch) -> None:
    """Everything ended at the same moment."""
    for name in ("billing-sidecar", "order", "valkey"):
        watch.end(name)

    assert ["order", "valkey", "billing-sidecar"] == watch.look()


def test_a_sidecar_waits_for_its_servers_and_it_is_said_once(watch: Watch) -> None:
    """It would only end again; the wait counts as no end."""
    watch.end("order-sidecar")
    watch.shop.servers_problem = "rabbitmq is unreachable"
    for _ in range(50):
        assert [] == watch.look(1)
    watch.shop.servers_problem = None

    assert ["order-sidecar"] == watch.look(1)
    assert ["sidecars wait: rabbitmq is unreachable", "sidecars wait no more: broker and store answer"] == watch.output[
        1:
    ]


ORDER_READS = next(one for one in readers(["order"]) if one.topic == "OrderPaymentCreated")
GATEWAY_READS = next(one for one in readers(["gateway"]) if one.topic == "OrderCreated")


def test_a_sidecar_that_does_not_read_is_started_again_in_the_end(watch: Watch) -> None:
    """All replicas that share the subscription, for nobody can say which it is; not before it had time to come back."""
    watch.shop.lost = [ORDER_READS]
    for _ in range(int(LOST_SECONDS / LOOK_SECONDS)):
        assert [] == watch.look(LOOK_SECONDS)

    assert ["order-sidecar", "order-1-sidecar"] == watch.look(LOOK_SECONDS)
    assert ["order", "order-1"] == watch.shop.stopped
    assert "order-sidecar does not read OrderPaymentCreated as it should: it is started again" in watch.output
    assert [] == watch.look(LOOK_SECONDS)


def test_a_sidecar_that_does_not_answer_is_started_again_in_the_end(watch: Watch) -> None:
    """It alone: which one it is is known."""
    watch.shop.silent = ["order-1"]
    for _ in range(int(LOST_SECONDS / LOOK_SECONDS)):
        assert [] == watch.look(LOOK_SECONDS)

    assert ["order-1-sidecar"] == watch.look(LOOK_SECONDS)
    assert ["order-1-sidecar does not answer: it is started again"] == watch.output
    assert [] == watch.look(LOOK_SECONDS)


def test_who_answers_again_in_time_is_left_alone(watch: Watch) -> None:
    """It was paused for a while, or was about to start."""
    for found in (["order-1"], [], ["order-1"]):
        watch.shop.silent = found
        for _ in range(int(LOST_SECONDS / LOOK_SECONDS) - 1):
            watch.look(LOOK_SECONDS)

    assert [] == watch.shop.stopped


def test_a_sidecar_that_ended_and_waits_is_not_started_past_its_time(watch: Watch) -> None:
    """It reads nothing, of course; it waits for its servers, and is started when they are there."""
    watch.end("gateway-sidecar")
    watch.shop.servers_problem = "postgres is unreachable"
    watch.shop.lost = [GATEWAY_READS]
    for _ in range(3 * int(LOST_SECONDS / LOOK_SECONDS)):
        assert [] == watch.look(LOOK_SECONDS)
    watch.shop.servers_problem, watch.shop.lost = None, []

    assert ["gateway-sidecar"] == watch.look(1)
    assert [] == watch.shop.stopped


def test_a_gateway_reads_alone(watch: Watch) -> None:
    """Its own queue is nobody else's matter."""
    watch.shop.lost = [GATEWAY_READS]
    for _ in range(int(LOST_SECONDS / LOOK_SECONDS) + 1):
        watch.look(LOOK_SECONDS)

    assert ["gateway"] == watch.shop.stopped


def test_who_reads_again_in_time_is_left_alone(watch: Watch) -> None:
    """A look in between at which all was well, or the broker was unreachable, begins the count anew."""
    for found in ([ORDER_READS], [], [ORDER_READS], OSError("unreachable"), [ORDER_READS]):
        watch.shop.lost = found
        for _ in range(int(LOST_SECONDS / LOOK_SECONDS) - 1):
            watch.look(LOOK_SECONDS)

    assert [] == watch.shop.stopped
