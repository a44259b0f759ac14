"""Tests of the reader: a stop interrupts the reads of a system that does not answer."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sidecart.testkit.faults import reader as module
from sidecart.testkit.faults.reader import READERS, Answer, Reader


def test_a_stop_interrupts_the_reads_of_a_system_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader stops with the reads under way, and starts no other."""
    queried: list[str] = []
    released = threading.Event()

    class Pool(ThreadPoolExecutor):
        """Ends the reads under way once the shutdown has dealt with the others."""

        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            released.set()
            super().shutdown(wait)

    def hang(_http: object, path: str) -> Answer:
        queried.append(path)
        released.wait(10)
        return Answer(0, {})

    def stop() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(module, "_get", hang)
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)

    with pytest.raises(KeyboardInterrupt):
        Reader("http://127.0.0.1:9", stop).read(["/lamp/1"] * 300)
    assert len(queried) <= READERS
