"""The supervisor restarts processes: at once, then with growing pauses, up to a limit.

Sidecars wait for their servers.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.supervisor import ENDS_MAX, LOOK_SECONDS, LOST_SECONDS, STEADY_SECONDS, Supervisor
from sidecart.launcher.topics import Subscription
from sidecart.launcher.topology import readers


class FakePage:
    """A fake live page, which ends with its processes."""

    def __init__(self, ended: dict[str, int]) -> None:
        self._ended = ended

    def stop(self) -> None:
        """Stop both processes."""
        for name in ("monitor", "monitor-sidecar"):
            self._ended.pop(name, None)


class FakeSystem:
    """Fake processes that end on request; the parts of a system that the supervisor needs."""

    logs = Path("logs")
    replicas = ("gateway", "order", "order-1")

    def __init__(self) -> None:
        self.ended: dict[str, int] = {}
        self.started: list[str] = []
        self.stopped: list[str] = []
        self.servers_problem: str | None = None
        self.lost: list[Subscription] | OSError = []
        self.silent: list[str] = []
        self.warnings: list[str] = []
        self.state = self.processes = self.health = self.starter = self.sidecars = self
        self.page = FakePage(self.ended)

    @property
    def dead(self) -> dict[str, int]:
        """The ended processes with their exit codes."""
        return dict(self.ended)

    def warnings_of_servers(self) -> list[str]:
        """Return the warnings of the servers."""
        return self.warnings

    def start_again(self, name: str) -> None:
        """Start a process that does not run."""
        assert name in self.dead or name.removesuffix("-sidecar") in self.stopped, f"{name} is already running"
        self.ended.pop(name, None)
        self.started.append(name)

    def stop_app(self, name: str) -> None:
        """Stop an app, which may have ended."""
        self.ended.pop(name, None)
        self.stopped.append(name)

    def start_app(self, name: str) -> None:
        """Start a stopped app."""
        assert name in self.stopped, f"{name} is already running"
        self.started.append(name)

    def stop(self, name: str, seconds: float) -> None:
        """Stop a sidecar within seconds."""
        assert seconds < STEADY_SECONDS
        self.stopped.append(name)

    def problem_of_servers(self) -> str | None:
        """Return the problem that would prevent sidecars from starting."""
        return self.servers_problem

    def last_lines(self, name: str) -> list[str]:
        """The last lines of a log."""
        return [f"{name} prints its last line"]

    def unread_subscriptions(self) -> list[Subscription]:
        """Return the unread subscriptions."""
        if isinstance(self.lost, OSError):
            raise self.lost
        return self.lost

    def unresponsive_sidecars(self) -> list[str]:
        """Return the replicas whose sidecar does not answer."""
        return self.silent


class Watch:
    """A supervisor of a fake system, with a fake clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.system = FakeSystem()
        self.output: list[str] = []
        self.changes = 0
        self.supervisor = Supervisor(
            self.system,  # type: ignore[arg-type]  # the supervisor needs only this part of a system
            self.output.append,
            self._change,
            lambda: self.now,
        )

    def _change(self) -> None:
        self.changes += 1

    def end(self, name: str) -> None:
        """End a process."""
        self.system.ended[name] = -9

    def look(self, seconds: float = 0.0) -> list[str]:
        """Advance the clock, run the supervisor, and return the started processes."""
        self.now += seconds
        before = len(self.system.started)
        self.supervisor.look()
        return self.system.started[before:]


@pytest.fixture
def watch() -> Watch:
    """A supervisor that has just started."""
    return Watch()


def test_an_ended_process_restarts_at_once_with_a_report(watch: Watch) -> None:
    """The report has the exit code and the log's path, and the change callback runs."""
    watch.end("order")

    assert ["order"] == watch.look()
    assert (1, 1) == (watch.changes, watch.supervisor.restarts)
    assert ["order ended with code -9: restarting now (see logs/order.log)"] == watch.output
    assert [] == watch.look(60)


def test_repeated_ends_lead_to_growing_pauses(watch: Watch) -> None:
    """The pauses are 0, 1, 2 and 4 s; a process that ran for a while starts over."""
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


@pytest.mark.parametrize("name", ["monitor", "trimmer"])
def test_a_system_continues_without_a_spare_process(watch: Watch, name: str) -> None:
    """A live page or a trimmer that keeps crashing is abandoned, and that is reported once."""
    while not any("the system continues without it" in line for line in watch.output):
        watch.end(name)
        watch.look(0.5)
    before = (list(watch.system.started), list(watch.output))
    watch.look(60)

    assert ENDS_MAX == before[0].count(name)
    assert {} == watch.system.dead
    assert before == (watch.system.started, watch.output)


def test_a_process_that_keeps_crashing_ends_the_system(watch: Watch) -> None:
    """The error includes the end of the log, because more restarts would not help."""

    def end_repeatedly() -> None:
        while True:
            watch.end("order")
            watch.look(0.5)

    with pytest.raises(LaunchError, match=f"order ended {ENDS_MAX + 1} times in a row(.|\n)*prints its last line"):
        end_repeatedly()

    assert ENDS_MAX == watch.system.started.count("order")


def test_servers_are_started_before_the_sidecars_that_need_them(watch: Watch) -> None:
    """Of processes that ended at the same moment, sidecars start last."""
    for name in ("billing-sidecar", "order", "valkey"):
        watch.end(name)

    assert ["order", "valkey", "billing-sidecar"] == watch.look()


def test_a_sidecar_waits_for_its_servers_with_one_report(watch: Watch) -> None:
    """The sidecar would only end again; the wait does not count as an end."""
    watch.end("order-sidecar")
    watch.system.servers_problem = "rabbitmq is unreachable"
    for _ in range(50):
        assert [] == watch.look(1)
    watch.system.servers_problem = None

    assert ["order-sidecar"] == watch.look(1)
    assert [
        "sidecar restarts are waiting: rabbitmq is unreachable",
        "sidecar restarts continue: broker, store and sentry answer",
    ] == watch.output[1:]


ORDER_READS = next(one for one in readers(["order"]) if one.topic == "OrderPaymentCreated")
GATEWAY_READS = next(one for one in readers(["gateway"]) if one.topic == "OrderCreated")


def test_a_sidecar_that_does_not_read_restarts_eventually(watch: Watch) -> None:
    """All replicas of the subscription restart, because the broker does not name the lost one."""
    watch.system.lost = [ORDER_READS]
    for _ in range(int(LOST_SECONDS / LOOK_SECONDS)):
        assert [] == watch.look(LOOK_SECONDS)

    assert ["order-sidecar", "order-1-sidecar"] == watch.look(LOOK_SECONDS)
    assert ["order", "order-1"] == watch.system.stopped
    assert "order-sidecar does not read OrderPaymentCreated correctly: restarting it" in watch.output
    assert [] == watch.look(LOOK_SECONDS)


def test_a_sidecar_that_does_not_answer_restarts_eventually(watch: Watch) -> None:
    """Only this sidecar restarts, because it is known."""
    watch.system.silent = ["order-1"]
    for _ in range(int(LOST_SECONDS / LOOK_SECONDS)):
        assert [] == watch.look(LOOK_SECONDS)

    assert ["order-1-sidecar"] == watch.look(LOOK_SECONDS)
    assert ["order-1-sidecar does not answer: restarting it"] == watch.output
    assert [] == watch.look(LOOK_SECONDS)


def test_a_sidecar_that_answers_again_in_time_is_not_restarted(watch: Watch) -> None:
    """The sidecar was paused for a while, or was starting."""
    for found in (["order-1"], [], ["order-1"]):
        watch.system.silent = found
        for _ in range(int(LOST_SECONDS / LOOK_SECONDS) - 1):
            watch.look(LOOK_SECONDS)

    assert [] == watch.system.stopped


def test_a_waiting_sidecar_is_not_restarted_by_another_check(watch: Watch) -> None:
    """It reads nothing because it is down; it starts as soon as its servers are available."""
    watch.end("gateway-sidecar")
    watch.system.servers_problem = "postgres is unreachable"
    watch.system.lost = [GATEWAY_READS]
    for _ in range(3 * int(LOST_SECONDS / LOOK_SECONDS)):
        assert [] == watch.look(LOOK_SECONDS)
    watch.system.servers_problem, watch.system.lost = None, []

    assert ["gateway-sidecar"] == watch.look(1)
    assert [] == watch.system.stopped


def test_a_lost_gateway_subscription_restarts_one_sidecar(watch: Watch) -> None:
    """A gateway's queue belongs to no other replica."""
    watch.system.lost = [GATEWAY_READS]
    for _ in range(int(LOST_SECONDS / LOOK_SECONDS) + 1):
        watch.look(LOOK_SECONDS)

    assert ["gateway"] == watch.system.stopped


def test_a_sidecar_that_reads_again_in_time_is_not_restarted(watch: Watch) -> None:
    """A check that finds all subscriptions read, or the broker unreachable, restarts the count."""
    for found in ([ORDER_READS], [], [ORDER_READS], OSError("unreachable"), [ORDER_READS]):
        watch.system.lost = found
        for _ in range(int(LOST_SECONDS / LOOK_SECONDS) - 1):
            watch.look(LOOK_SECONDS)

    assert [] == watch.system.stopped


def test_a_requested_restart_forgets_earlier_ends(watch: Watch) -> None:
    """The app starts at once, and later ends count from one."""
    for _ in range(3):
        watch.end("order")
        watch.look(0.5)
    watch.supervisor.restart("order")
    watch.end("order")

    assert ["order"] == watch.system.stopped
    assert ["order"] == watch.look()
    assert watch.output[-1].startswith("order ended with code -9: restarting now")


def test_an_app_that_waits_for_its_restart_is_restarted_once(watch: Watch) -> None:
    """A request ends the pause."""
    for _ in range(3):
        watch.end("order")
        watch.look(0.5)
    watch.supervisor.restart("order")

    assert [] == watch.look(60)


def test_a_reloaded_app_that_keeps_crashing_waits_for_a_change(watch: Watch) -> None:
    """The developer may need more time than the supervisor's attempts; the system keeps running."""
    watch.supervisor.reloaded = frozenset({"order"})
    while not any("restarts when its code changes" in line for line in watch.output):
        watch.end("order")
        watch.look(0.5)

    assert [] == watch.look(60)
    watch.supervisor.restart("order")
    watch.end("order")
    assert ["order"] == watch.look()


def test_a_warning_of_a_server_is_reported_when_it_begins(watch: Watch) -> None:
    """It is not repeated as long as it lasts."""
    watch.system.warnings = ["little memory"]
    for _ in range(3):
        watch.look(10)
    watch.system.warnings = []
    watch.look(10)
    watch.system.warnings = ["little memory"]
    watch.look(10)

    assert ["little memory"] * 2 == watch.output
