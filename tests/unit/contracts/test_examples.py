"""The examples are written from the scenario, and differences are listed."""

from pathlib import Path

from sidecart.contracts import examples
from sidecart.contracts.scenario import Example, Run
from sidecart.launcher.project import root

MADE = Run([Example("typical", {"type": "Sold", "data": {"name": "Zoë"}})])


def test_the_examples_are_those_of_the_scenario() -> None:
    """`sidecart examples` would change no file."""
    assert [] == list(examples.differences(root(), examples.run_scenario(root())))


def test_missing_stale_and_changed_files_are_listed_and_mended(tmp_path: Path) -> None:
    """`write` changes only what differs, and a second call changes nothing."""
    folder = tmp_path / "contracts/examples/Sold"
    folder.mkdir(parents=True)
    (folder / "old.json").write_text("{}", encoding="utf-8")

    assert [
        "contracts/examples/Sold/old.json: no flow of contracts/scenario.json leads to this event",
        "contracts/examples/Sold/typical.json is missing",
    ] == list(examples.differences(tmp_path, MADE))
    assert ["contracts/examples/Sold/old.json (deleted)", "contracts/examples/Sold/typical.json"] == examples.write(
        tmp_path, MADE
    )
    assert [] == examples.write(tmp_path, MADE)

    (folder / "typical.json").write_text("{}", encoding="utf-8")
    assert ["contracts/examples/Sold/typical.json differs from the event that the scenario gives"] == list(
        examples.differences(tmp_path, MADE)
    )
