"""The ring: who comes back is given what he missed, or is told that it is gone."""

from monitor.ring import Ring


def ring_of(notices: int, size: int = 3) -> Ring:
    """A ring of three, with so many added."""
    ring = Ring("run", size)
    for number in range(1, notices + 1):
        ring.add("step", str(number).encode())
    return ring


def bodies(ring: Ring, number: int) -> list[bytes] | None:
    """What came after a number."""
    found = ring.since(number)
    return None if found is None else [each.body for each in found]


def test_who_comes_back_is_given_what_came_after() -> None:
    """In order, with the numbers that continue his own; nothing if nothing came."""
    ring = ring_of(3)

    assert [b"2", b"3"] == bodies(ring, 1)
    assert [2, 3] == [each.number for each in ring.since(1) or []]
    assert [] == bodies(ring, 3)
    assert 1 == ring.number_of(ring.id_of(1))


def test_what_is_gone_is_known_to_be_gone() -> None:
    """The oldest makes room; whoever would need it gets nothing rather than a part."""
    ring = ring_of(5)

    assert [b"3", b"4", b"5"] == bodies(ring, 2)
    assert bodies(ring, 1) is None
    assert ring.number_of(ring.id_of(1)) is None


def test_an_id_of_another_run_or_of_nobody_is_none() -> None:
    """A monitor that was started again counts from the beginning; and ids come from outside."""
    ring = ring_of(2)

    ids = ("", "another-1", "run-", "run-x", "run--1", "run-3", "run-\u0661", "run")
    assert [None] * len(ids) == [ring.number_of(each) for each in ids]
    assert 2 == ring.number_of("run-2")


def test_what_is_kept_is_bounded_in_bytes_too() -> None:
    """A notice of mails may be large; one that is too large for all of the ring is kept by nobody."""
    ring = Ring("run", 100, bytes_max=10)
    for size in (6, 4, 3):
        ring.add("mails", b"x" * size)

    assert [b"xxxx", b"xxx"] == bodies(ring, 1)
    assert bodies(ring, 0) is None
    ring.add("mails", b"x" * 11)
    assert (None, []) == (bodies(ring, 3), bodies(ring, 4))
