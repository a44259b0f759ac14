"""What a process remembers of its own saves: bounded, and given up where it is wrong too often."""

import pytest

from chassis import record_cache as module
from chassis.record_cache import CREDIT_MAX, OVERHEAD_BYTES, PAUSE_SAVES, WRONG_COSTS, CachedRecord, RecordCache


@pytest.mark.parametrize(
    ("etag", "guess"), [(None, "1"), ("1", "2"), ("999", "1000"), ("abc", None), ("", None), ("²", None)], ids=str
)
def test_the_next_etag_is_guessed_where_a_store_counts(etag: str | None, guess: str | None) -> None:
    """One that is no number has no next one."""
    record_cache = RecordCache()
    record_cache.put("a", b"value", etag)

    assert (None if guess is None else CachedRecord(b"value", guess)) == record_cache.take("a")


def test_what_is_taken_is_forgotten() -> None:
    """Until it is saved again."""
    record_cache = RecordCache()
    record_cache.put("a", b"value", None)
    record_cache.take("a")

    assert record_cache.take("a") is None


def test_the_oldest_is_forgotten_first_and_a_large_one_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many bytes in all, and so many for one."""
    monkeypatch.setattr(module, "CACHE_BYTES_MAX", 2 * (5 + OVERHEAD_BYTES))
    monkeypatch.setattr(module, "RECORD_BYTES_MAX", 5)
    record_cache = RecordCache()
    for key in ("a", "b", "c"):
        record_cache.put(key, b"12345", None)
    record_cache.put("b", b"54321", "1")
    record_cache.put("large", b"123456", None)

    kept = [record_cache.take(key) for key in ("a", "b", "c", "large")]
    assert [None, CachedRecord(b"54321", "2"), CachedRecord(b"12345", "1"), None] == kept


def test_what_is_taken_makes_room() -> None:
    """However often a record is saved and taken, others are still remembered."""
    record_cache = RecordCache()
    record_cache.put("first", b"value", None)
    for number in range(20_000):
        record_cache.put("busy", b"value", str(number))
        record_cache.take("busy")

    assert record_cache.take("first") is not None


def test_where_guesses_are_wrong_none_is_made_for_a_while() -> None:
    """After a thousand saves one more is tried."""
    record_cache = RecordCache()
    for _ in range(2):
        record_cache.note_guess(right=False)
    record_cache.put("a", b"value", None)
    assert record_cache.take("a") is None
    for _ in range(PAUSE_SAVES - 1):
        record_cache.put("a", b"value", None)
    assert record_cache.take("a") is None
    record_cache.put("a", b"value", None)
    assert record_cache.take("a") is not None


def test_a_few_wrong_guesses_among_many_right_ones_change_nothing() -> None:
    """Another process may write a record now and then."""
    record_cache = RecordCache()
    for _ in range(CREDIT_MAX + 5):
        record_cache.note_guess(right=True)
    for _ in range(CREDIT_MAX // WRONG_COSTS):
        record_cache.note_guess(right=False)
    record_cache.put("a", b"value", None)

    assert record_cache.take("a") is not None
