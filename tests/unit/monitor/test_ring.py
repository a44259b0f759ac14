"""The ring returns the missed notices, or reports that they are gone."""

from sidecart.monitor.ring import Ring


def ring_of(notices: int, size: int = 3) -> Ring:
    """A ring of three with this many notices added."""
    ring = Ring("run", size)
    for number in range(1, notices + 1):
        ring.add("step", str(number).encode())
    return ring


def bodies(ring: Ring, number: int) -> list[bytes] | None:
    """The bodies of the notices after a number."""
    found = ring.since(number)
    return None if found is None else [each.body for each in found]


def test_missed_notices_are_returned_in_order() -> None:
    """Their numbers continue the viewer's; without missed notices the list is empty."""
    ring = ring_of(3)

    assert [b"2", b"3"] == bodies(ring, 1)
    assert [2, 3] == [each.number for each in ring.since(1) or []]
    assert [] == bodies(ring, 3)
    assert 1 == ring.number_of(ring.id_of(1))


def test_dropped_notices_are_detected() -> None:
    """If the oldest missed notice is gone, the ring returns None instead of a part."""
    ring = ring_of(5)

    assert [b"3", b"4", b"5"] == bodies(ring, 2)
    assert bodies(ring, 1) is None
    assert ring.number_of(ring.id_of(1)) is None


def test_invalid_ids_have_no_number() -> None:
    """Ids of another run and malformed ids come from clients."""
    ring = ring_of(2)

    ids = ("", "another-1", "run-", "run-x", "run--1", "run-3", "run-\u0661", "run", f"run-{'9' * 5_000}")
    assert [None] * len(ids) == [ring.number_of(each) for each in ids]
    assert 2 == ring.number_of("run-2")


def test_the_ring_is_bounded_in_bytes() -> None:
    """A notice larger than the whole ring is not stored."""
    ring = Ring("run", 100, bytes_max=10)
    for size in (6, 4, 3):
        ring.add("mails", b"x" * size)

    assert [b"xxxx", b"xxx"] == bodies(ring, 1)
    assert bodies(ring, 0) is None
    ring.add("mails", b"x" * 11)
    assert (None, []) == (bodies(ring, 3), bodies(ring, 4))
