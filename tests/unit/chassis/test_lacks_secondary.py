"""A secondary record is not loaded if the state proves that there is none."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

from sidecart.chassis.processor import EventProcessor
from sidecart.chassis.speculation import SpeculativeProcessor
from tests.unit.chassis.fakes import FakeSidecar
from tests.unit.chassis.toy_service import AT, JARS, Input, Jar, coin, paint

EMPTY_JARS = replace(JARS, lacks_secondary=lambda jar, _event: jar is not None and jar.total == 0)
"""An empty jar has no coins, and therefore no secondary records: each coin has a value."""


def play(scenario: Callable[[FakeSidecar], Coroutine[Any, Any, None]]) -> FakeSidecar:
    """Run one scenario on an empty store and return the sidecar."""
    sidecar = FakeSidecar()
    asyncio.run(scenario(sidecar))
    return sidecar


def cautious(sidecar: FakeSidecar, name: str) -> EventProcessor[Jar, Input]:
    """Return a processor that loads the record of each event."""
    return EventProcessor(EMPTY_JARS, sidecar, lambda: AT, name)


def speculative(sidecar: FakeSidecar, name: str) -> SpeculativeProcessor[Jar, Input]:
    """Return a processor that decides on the record that it saved last."""
    return SpeculativeProcessor(EMPTY_JARS, sidecar, lambda: AT, name)


def test_a_loaded_state_saves_the_second_load() -> None:
    """An empty jar has no coins, so none is looked for; the next coin is."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = cautious(sidecar, "one")
        await one.process("JarPainted", paint("p-1", "red"))
        sidecar.calls.clear()
        await one.process("CoinPut", coin("c-1"))
        await one.process("CoinPut", coin("c-2"))

    calls = play(scenario).calls

    assert ["load jar:a", "save jar:a", "insert coin:c-1"] == calls[:3]
    assert ["load jar:a", "load coin:c-2", "save jar:a"] == calls[5:8]


def test_a_remembered_state_saves_both_loads() -> None:
    """The first call about the event is its save."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one = speculative(sidecar, "one")
        await one.process("JarPainted", paint("p-1", "red"))
        sidecar.calls.clear()
        await one.process("CoinPut", coin("c-1"))

    assert ["save jar:a", "insert coin:c-1", "publish CoinKept", "publish BellRung"] == play(scenario).calls


def test_an_outdated_state_proves_nothing() -> None:
    """Another process has put the coin meanwhile: the save is a conflict, and the coin counts
    once.
    """

    async def scenario(sidecar: FakeSidecar) -> None:
        one, other = speculative(sidecar, "one"), speculative(sidecar, "other")
        await one.process("JarPainted", paint("p-1", "red"))
        for name in ("c-1", "c-2"):
            await other.process("CoinPut", coin(name))
        sidecar.calls.clear()
        await one.process("CoinPut", coin("c-1"))

    sidecar = play(scenario)

    assert ["save jar:a", "load jar:a"] == sidecar.calls[:2]
    assert "load coin:c-1" in sidecar.calls
    assert 10 == sidecar.read("jar:a")["state"]["total"]


def test_a_state_that_changes_after_its_load_proves_nothing() -> None:
    """The save of another process between the load and the save is a conflict as well."""

    async def scenario(sidecar: FakeSidecar) -> None:
        one, other = cautious(sidecar, "one"), cautious(sidecar, "other")
        await one.process("JarPainted", paint("p-1", "red"))
        sidecar.calls.clear()
        sidecar.gates[2] = asyncio.Event()  # the save of the first process
        late = asyncio.create_task(one.process("CoinPut", coin("c-1")))
        await sidecar.held.wait()
        await other.process("CoinPut", coin("c-1"))
        sidecar.gates[2].set()
        await late

    sidecar = play(scenario)

    assert 5 == sidecar.read("jar:a")["state"]["total"]
    assert {5} == {each["data"]["total"] for topic, each in sidecar.published if topic == "CoinKept"}
