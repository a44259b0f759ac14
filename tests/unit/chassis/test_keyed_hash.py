"""Keyed hashes: one secret in the store, whichever process comes first."""

import asyncio
import hashlib
import hmac

import pytest

from sidecart.chassis.errors import SidecarUnavailable
from sidecart.chassis.keyed_hash import KeyedHash, keyed_hash
from tests.unit.chassis.fakes import FakeSidecar


def loaded(sidecar: FakeSidecar) -> KeyedHash:
    """Return the hash of a process that has loaded the secret."""
    made = KeyedHash(sidecar, "secret")
    asyncio.run(made.load())
    return made


def test_it_is_an_hmac() -> None:
    """Programs in other languages compute the same one."""
    assert hmac.new(b"k", "é".encode(), hashlib.sha256).hexdigest() == keyed_hash(b"k", "é")


def test_the_first_process_creates_the_secret_and_the_others_use_it() -> None:
    """All processes compute the same hash."""
    sidecar = FakeSidecar()

    hashes = [loaded(sidecar)("a@b.c") for _ in range(2)]

    assert hashes[0] == hashes[1] == keyed_hash(bytes.fromhex(sidecar.read("secret")["secret"]), "a@b.c")
    assert 1 == sidecar.count("insert")


def test_a_process_that_loses_the_race_takes_the_other_secret() -> None:
    """The insert keeps what is there, so the process reads again."""
    sidecar = FakeSidecar()
    sidecar.before[2] = lambda: sidecar.put("secret", b'{"secret":"00ff"}')

    assert keyed_hash(b"\x00\xff", "a@b.c") == loaded(sidecar)("a@b.c")


def test_the_secret_is_read_once() -> None:
    """An event costs no read for it."""
    sidecar = FakeSidecar()
    made = loaded(sidecar)
    calls = len(sidecar.calls)

    asyncio.run(made.load())

    assert calls == len(sidecar.calls)


def test_an_unreachable_store_is_a_transient_error() -> None:
    """The next event tries again."""
    sidecar = FakeSidecar()
    sidecar.refuse[1] = SidecarUnavailable("unreachable")
    made = KeyedHash(sidecar, "secret")

    with pytest.raises(SidecarUnavailable):
        asyncio.run(made.load())
    asyncio.run(made.load())

    assert 64 == len(made("a@b.c"))
