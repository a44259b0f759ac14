"""What a process remembers of its own saves: bounded, and given up where it is wrong too often."""

import pytest

from chassis import memory as module
from chassis.memory import CREDIT_MAX, OVERHEAD_BYTES, PAUSE_SAVES, WRONG_COSTS, Memory, Remembered


@pytest.mark.parametrize(
    ("etag", "guess"), [(None, "1"), ("1", "2"), ("999", "1000"), ("abc", None), ("", None), ("²", None)], ids=str
)
def test_the_next_etag_is_guessed_where_a_store_counts(etag: str | None, guess: str | None) -> None:
    """One that is no number has no next one."""
    memory = Memory()
    memory.keep("a", b"value", etag)

    assert (None if guess is None else Remembered(b"value", guess)) == memory.take("a")


def test_what_is_taken_is_forgotten() -> None:
    """Until it is saved again."""
    memory = Memory()
    memory.keep("a", b"value", None)
    memory.take("a")

    assert memory.take("a") is None


def test_the_oldest_is_forgotten_first_and_a_large_one_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many bytes in all, and so many for one."""
    monkeypatch.setattr(module, "REMEMBERED_BYTES_MAX", 2 * (5 + OVERHEAD_BYTES))
    monkeypatch.setattr(module, "RECORD_BYTES_MAX", 5)
    memory = Memory()
    for key in ("a", "b", "c"):
        memory.keep(key, b"12345", None)
    memory.keep("b", b"54321", "1")
    memory.keep("large", b"123456", None)

    kept = [memory.take(key) for key in ("a", "b", "c", "large")]
    assert [None, Remembered(b"54321", "2"), Remembered(b"12345", "1"), None] == kept


def test_what_is_taken_makes_room() -> None:
    """However often a record is saved and taken, others are still remembered."""
    memory = Memory()
    memory.keep("first", b"value", None)
    for number in range(20_000):
        memory.keep("busy", b"value", str(number))
        memory.take("busy")

    assert memory.take("first") is not None


def test_where_guesses_are_wrong_none_is_made_for_a_while() -> None:
    """After a thousand saves one more is tried."""
    memory = Memory()
    for _ in range(2):
        memory.judged(right=False)
    memory.keep("a", b"value", None)
    assert memory.take("a") is None
    for _ in range(PAUSE_SAVES - 1):
        memory.keep("a", b"value", None)
    assert memory.take("a") is None
    memory.keep("a", b"value", None)
    assert memory.take("a") is not None


def test_a_few_wrong_guesses_among_many_right_ones_change_nothing() -> None:
    """Another process may write a record now and then."""
    memory = Memory()
    for _ in range(CREDIT_MAX + 5):
        memory.judged(right=True)
    for _ in range(CREDIT_MAX // WRONG_COSTS):
        memory.judged(right=False)
    memory.keep("a", b"value", None)

    assert memory.take("a") is not None
