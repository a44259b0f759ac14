"""Tests of `sidecart bench`: it reports missing brokers first, and writes results after each
broker.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import pages, run
from sidecart.cli.__main__ import main
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers import rabbitmq


@pytest.fixture
def no_rabbitmq(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make RabbitMQ look uninstalled."""
    monkeypatch.setattr(rabbitmq, "SERVER_SCRIPT", tmp_path / "nowhere")
    monkeypatch.delenv("AMQP_URL", raising=False)


@pytest.mark.parametrize(
    "more", [["--quick"], [], ["--only", "latency-breakdown"], ["--broker", "rabbitmq", "--only", "systems"]]
)
def test_a_missing_broker_is_reported_before_any_measurement(
    more: list[str],
    no_rabbitmq: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The message says how to install the broker, and how to measure without it."""
    started: list[str] = []

    def part(*_: object) -> Iterator[run.Found]:
        started.append("part")
        yield run.Found("", None)

    monkeypatch.setattr(run, "PARTS", dict.fromkeys(run.PARTS, part))

    assert 1 == main(["bench", *more, "--out", str(tmp_path / "out")])
    err = capsys.readouterr().err
    assert [] == started
    assert "make system-deps" in err
    assert ("--broker redis" in err) == ("--broker" not in more)


def test_parts_of_redis_need_no_other_broker(no_rabbitmq: None) -> None:
    """Concurrency and growth run on Redis only, so they start without RabbitMQ."""
    run.require("all", ["concurrency", "growth"])


def test_results_are_written_even_if_the_next_broker_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table and the results of the first broker are on disk."""

    def part(*_: object) -> Iterator[run.Found]:
        yield run.Found("| redis |", {"redis": [1.0]})
        raise LaunchError("the broker died")

    monkeypatch.setattr(run, "PARTS", {**run.PARTS, "latency-breakdown": part})
    monkeypatch.setattr(run, "require", lambda *_: None)

    assert 1 == main(["bench", "--only", "latency-breakdown", "--out", str(tmp_path)])
    assert "| redis |" in (tmp_path / "latency-breakdown.md").read_text()
    assert {"redis": [1.0]} == json.loads((tmp_path / "latency-breakdown.json").read_text())["latency-breakdown"]


def test_the_pages_get_the_tables_of_full_runs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run with a response that was not 201 changes no page, and a quick one is refused."""
    published: list[tuple[str, dict[str, str]]] = []

    def part(*_: object) -> Iterator[run.Found]:
        yield run.Found("| one |", {}, fine=False)

    def whole(*_: object) -> Iterator[run.Found]:
        yield run.Found("| redis |", {}, tables={"redis": "| redis |"})

    monkeypatch.setattr(run, "PARTS", {**run.PARTS, "growth": part, "experiments": whole})
    monkeypatch.setattr(run, "require", lambda *_: None)
    monkeypatch.setattr(pages, "publish", lambda name, tables, files: published.append((name, dict(tables))))

    main(["bench", "--only", "growth", "--only", "experiments", "--docs", "--out", str(tmp_path)])

    [(name, tables)] = published
    assert ("experiments", {"run", "redis"}) == (name, set(tables))
    assert "| redis |" == tables["redis"]
    assert 0 != main(["bench", "--quick", "--docs", "--out", str(tmp_path)])
    assert "--docs needs a full run" in capsys.readouterr().err
