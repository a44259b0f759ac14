"""Tests of the verdict of a soak: what grows with the orders is compared with their records."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.soak_report import checks, growing, table
from bench.soak_samples import MIB, Records, Soak, Stored, disk_bytes, family_mib, read, write

SECONDS = 1_200
BYTES_PER_ORDER = 3_000
MEMORY = {"gateway": 80.0, "order-sidecar": 110.0, "rabbitmq": 130.0, "mail": 30.0}


def constant(value: float) -> Callable[[float], float]:
    """Return a series that does not change."""
    return lambda seconds: value


def rising(value: float, per_hour: float) -> Callable[[float], float]:
    """Return a series that grows."""
    return lambda seconds: value + per_hour * seconds / 3_600


FLAT = {
    "gateway": constant(80.0),
    "server": constant(60.0),
    "disk": constant(100.0),
    "events": constant(4_000.0),
    "state": constant(BYTES_PER_ORDER),
}


def soak(*, store: str = "redis", **series: Callable[[float], float]) -> Soak:
    """Return a soak of twenty minutes with ten orders a second; other series are flat."""
    gateway, server, disk, events, state = (FLAT | series).values()
    made = Soak("redis", store, 10.0, 20.0, statuses=Counter({201: 12_000}))
    name = "valkey" if store == "redis" else store
    for seconds in range(0, SECONDS + 1, 10):
        made.memory.append((seconds, MEMORY | {"gateway": gateway(seconds), name: server(seconds)}))
        kept = {"UserCreated": round(events(seconds))}
        made.stored.append(Stored(seconds, 10 * seconds, kept, round(disk(seconds) * MIB)))
    for seconds in (0, 600, 1_200):
        made.records.append(Records(seconds, 10 * seconds, round(10 * seconds * state(seconds))))
    return made


def test_flat_series_pass() -> None:
    """Also a server that grows by the bytes of the records, and a file that is rewritten."""
    records = rising(60.0, 36_000 * BYTES_PER_ORDER / MIB)

    def sawtooth(seconds: float) -> float:
        return 60.0 + seconds % 200 / 5

    assert [] == growing(soak())
    assert [] == growing(soak(server=records, disk=sawtooth))


@pytest.mark.parametrize("store", ["redis", "postgres"])
@pytest.mark.parametrize(
    ("series", "name"),
    [
        ({"gateway": rising(80.0, 60.0)}, "memory of gateway"),
        ({"server": rising(60.0, 900.0)}, "memory of "),
        ({"disk": rising(100.0, 900.0)}, "disk, "),
        ({"events": rising(4_000.0, 8_000.0)}, "events kept"),
        ({"state": rising(BYTES_PER_ORDER, 9_000.0)}, "bytes of an order's records"),
    ],
)
def test_each_growth_is_found(store: str, series: dict[str, Callable[[float], float]], name: str) -> None:
    """It is the only one."""
    [found] = growing(soak(store=store, **series))

    assert found.startswith(name)


def test_the_mail_catcher_may_grow() -> None:
    """It stands for the mailboxes of the recipients, which are outside."""
    measured = {each.name for each in checks(soak())}

    assert "memory of mail" not in measured
    assert "memory of rabbitmq" in measured


def test_the_table_has_each_check_and_each_series() -> None:
    """The page of the results has it as it is."""
    made = table(soak())

    assert "| memory of gateway | 0.0 % | 5.0 % | flat |" in made
    assert "| MiB of the data folder | 100 | 100 | 100 |" in made
    assert "| events kept: UserCreated | 4000 | 4000 | 4000 |" in made


def test_the_mails_take_no_space(tmp_path: Path) -> None:
    """The size is that of all other files, also in subfolders."""
    (tmp_path / "one").mkdir()
    for path in (tmp_path / "one" / "kept", tmp_path / "mails.jsonl"):
        path.write_bytes(b"." * MIB)

    assert MIB == pytest.approx(disk_bytes(tmp_path, "mails.jsonl"), rel=0.1)


def test_the_samples_are_written(tmp_path: Path) -> None:
    """The file has all that the table needs."""
    write(soak(), tmp_path / "new" / "soak.json")

    assert table(soak()) == table(read(tmp_path / "new" / "soak.json"))


def test_shared_pages_of_a_family_count_once() -> None:
    """A forked child adds what it changed, and not what it shares with its parent."""
    before, block = family_mib({"self": os.getpid()})["self"], bytearray(os.urandom(64 * MIB))
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(read_end, 1)
        os._exit(0)
    try:
        family = family_mib({"self": os.getpid()})["self"]
    finally:
        os.write(write_end, b".")
        os.waitpid(child, 0)

    assert len(block) / MIB == pytest.approx(family - before, abs=24)
