"""The wait for a ready system ends as soon as it cannot succeed."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle import readiness as module
from sidecart.launcher.lifecycle.options import Options
from sidecart.launcher.lifecycle.plan import choose_ports, plan_of
from sidecart.launcher.lifecycle.readiness import Readiness
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.topics import Subscription, app_ids

WRONG_TYPE = "WRONGTYPE Operation against a key, from stream 'OrderPaid'"


class NoConsumers:
    """A broker that knows no subscription."""

    def missing(self, expected: Sequence[Subscription]) -> list[Subscription]:
        """Return all of them."""
        return list(expected)

    def unread(self, expected: Mapping[Subscription, int]) -> list[Subscription]:
        """Return all of them."""
        return list(expected)

    def remove(self, gone: Sequence[Subscription]) -> None:
        """Remove nothing."""


class Ready(BaseHTTPRequestHandler):
    """Answers 200 to the path /readyz, and 503 with a reason to any other."""

    def do_GET(self) -> None:
        """Answer one request."""
        self.send_response(200 if self.path == "/readyz" else 503)
        self.end_headers()
        self.wfile.write(b"the store")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def state(tmp_path: Path) -> State:
    """A system in which no app runs."""
    state = State(plan_of(Options("redis", folder=tmp_path, settings={"SMTP_URL": "smtp://here"})))
    state.ports |= choose_ports(state.plan)
    return state


@pytest.fixture
def port() -> Iterator[int]:
    """The port of an app that is ready."""
    server = HTTPServer(("127.0.0.1", 0), Ready)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def run(state: State, program: str) -> None:
    """Start a program in place of an app."""
    state.processes.start("order", [sys.executable, "-c", program], env=dict(os.environ), cwd=Path.cwd())


def wait(state: State) -> str:
    """Wait until all are ready; return the error."""
    try:
        with pytest.raises(LaunchError) as raised:
            Readiness(state, NoConsumers(), Deadline(), print).wait_for_all()
    finally:
        state.processes.stop(["order"], 10)
    return str(raised.value)


def test_an_ended_process_ends_the_wait_with_its_last_lines(state: State) -> None:
    """More waiting would not start it again."""
    run(state, "import sys; print('no settings'); sys.exit(3)")

    assert "order ended with code 3 during the start; its last lines:\n    no settings" == wait(state)


def test_a_blocking_error_in_a_log_ends_the_wait_with_the_remedy(state: State) -> None:
    """The sidecar itself would retry forever."""
    run(state, f"import time; print({WRONG_TYPE!r}, flush=True); time.sleep(60)")

    output = wait(state)
    assert "order cannot become ready: " in output
    assert "To fix it, delete the key OrderPaid" in output


def test_the_timeout_names_each_app_and_why(state: State, port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """An app that is ready is not named."""
    monkeypatch.setattr(module, "READY_SECONDS", 0)
    state.ports["user"] = port

    output = wait(state)
    assert output.startswith("not ready after 0 s: gateway: ")
    assert all(f"{name}: " in output for name in app_ids() if name != "user")
    assert "user: " not in output


def test_a_long_wait_reports_what_is_not_ready(
    state: State, port: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A gateway that does not reach its token issuer says so at /readyz, and the user sees it."""
    monkeypatch.setattr(module, "READY_SECONDS", 0.3)
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)
    state.ports["user"] = port

    wait(state)
    assert "still starting: gateway, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        ('/readyz returns 503 {"missing":["Probe-order did not come back yet"]}', "Probe-order did not come back yet"),
        ('/readyz returns 503 {"missing":["one","two","three"]}', "one, two"),
        (f'/readyz returns 503 {{"missing":["{"x" * 101}"]}}', "x" * 100 + "..."),
        ('/readyz returns 503 {"detail":"not ready"}', ""),
        ("/readyz returns 503 {", ""),
        ("does not answer", ""),
        ("has not answered yet", ""),
    ],
)
def test_a_report_has_only_what_an_app_lacks(problem: str, expected: str) -> None:
    """A whole answer would look like an error in the middle of a normal start."""
    assert expected == module._missing(problem)


def test_missing_subscriptions_are_named_after_the_timeout(
    state: State, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every app is ready, and the broker still lacks their consumers."""
    monkeypatch.setattr(module, "READY_SECONDS", 0)
    state.ports |= dict.fromkeys(app_ids(), port)

    output = wait(state)
    assert output.startswith("not subscribed after 0 s: ")
    assert "gateway-0 on OrderCreated" in output


def test_a_problem_has_status_and_reason(state: State, port: int) -> None:
    """An app that does not listen has another one."""
    state.ports["user"] = port
    readiness = Readiness(state, NoConsumers(), Deadline(), print)

    assert readiness.is_ready("user")
    assert "/healthz returns 503 the store" == readiness.problem("user", "/healthz")
    assert "does not answer" == readiness.problem("order", "/readyz")
