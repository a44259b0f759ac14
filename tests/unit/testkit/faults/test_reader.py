"""Tests of the reader: a stop interrupts the reads of a system that does not answer."""

from __future__ import annotations

import threading

import pytest

from sidecart.testkit.faults import reader as module
from sidecart.testkit.faults.reader import Answer, Reader


def test_a_stop_interrupts_the_reads_of_a_system_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader stops before it has queried all paths in vain."""
    queried: list[str] = []

    def hang(_http: object, path: str) -> Answer:
        queried.append(path)
        stopped.wait(10)
        return Answer(0, {})

    def stop() -> None:
        stopped.set()
        raise KeyboardInterrupt

    stopped = threading.Event()
    monkeypatch.setattr(module, "_get", hang)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)

    with pytest.raises(KeyboardInterrupt):
        Reader("http://127.0.0.1:9", stop).read(["/lamp/1"] * 300)
    assert len(queried) < 100
