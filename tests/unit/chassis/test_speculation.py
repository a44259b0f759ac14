"""The record cache: limited in size, and paused after too many wrong predictions."""

import pytest

from sidecart.chassis import speculation as module
from sidecart.chassis.speculation import (
    CREDIT_MAX,
    OVERHEAD_BYTES,
    PAUSE_SAVES,
    WRONG_COSTS,
    CachedRecord,
    RecordCache,
)


@pytest.mark.parametrize(
    ("etag", "guess"), [(None, "1"), ("1", "2"), ("999", "1000"), ("abc", None), ("", None), ("²", None)], ids=str
)
def test_the_next_etag_is_predicted_if_it_is_a_number(etag: str | None, guess: str | None) -> None:
    """A record is cached only if its ETag is a decimal number, or if there was no record."""
    record_cache = RecordCache()
    record_cache.put("a", b"value", etag)

    assert (None if guess is None else CachedRecord(b"value", guess)) == record_cache.take("a")


def test_a_taken_record_leaves_the_cache() -> None:
    """A taken record is not cached until it is saved again."""
    record_cache = RecordCache()
    record_cache.put("a", b"value", None)
    record_cache.take("a")

    assert record_cache.take("a") is None


def test_the_oldest_record_is_evicted_first_and_a_large_one_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache limits its total size and the size of one record."""
    monkeypatch.setattr(module, "CACHE_BYTES_MAX", 2 * (5 + OVERHEAD_BYTES))
    monkeypatch.setattr(module, "RECORD_BYTES_MAX", 5)
    record_cache = RecordCache()
    for key in ("a", "b", "c"):
        record_cache.put(key, b"12345", None)
    record_cache.put("b", b"54321", "1")
    record_cache.put("large", b"123456", None)

    cached = [record_cache.take(key) for key in ("a", "b", "c", "large")]
    assert [None, CachedRecord(b"54321", "2"), CachedRecord(b"12345", "1"), None] == cached


def test_a_taken_record_makes_room() -> None:
    """A record that is saved and taken often evicts no others."""
    record_cache = RecordCache()
    record_cache.put("first", b"value", None)
    for number in range(20_000):
        record_cache.put("busy", b"value", str(number))
        record_cache.take("busy")

    assert record_cache.take("first") is not None


def test_wrong_predictions_pause_the_cache() -> None:
    """After too many wrong predictions the cache ignores the next `PAUSE_SAVES` saves."""
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


def test_a_few_wrong_predictions_do_not_pause_the_cache() -> None:
    """A few wrong predictions after many correct ones do not pause the cache."""
    record_cache = RecordCache()
    for _ in range(CREDIT_MAX + 5):
        record_cache.note_guess(right=True)
    for _ in range(CREDIT_MAX // WRONG_COSTS):
        record_cache.note_guess(right=False)
    record_cache.put("a", b"value", None)

    assert record_cache.take("a") is not None
