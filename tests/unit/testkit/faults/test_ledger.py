"""Tests of the ledger: the file has each request before the request is sent."""

from __future__ import annotations

from pathlib import Path

from sidecart.testkit.faults.ledger import Ledger


def test_a_request_is_on_disk_before_it_is_sent(tmp_path: Path) -> None:
    """The ledger has the request even if the caller dies right after sending it."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    intent = ledger.intend("key", "/lamp/create", {"color": "red"})
    ledger.attempt(intent)

    lines = ledger.path.read_text().splitlines()
    ledger.close()
    assert ['"intent"', '"attempt"'] == [line.split('"what": ')[1].split(",")[0] for line in lines]
    assert '"color": "red"' in lines[0]
