"""What a sidecar is started with."""

from pathlib import Path

import yaml

from cli.sidecar import write_name_resolution


def test_names_are_kept_in_the_shops_own_file_and_never_cleaned_up(tmp_path: Path) -> None:
    """The cleanup would remove the names of living sidecars, which end themselves then (ADR 4)."""
    write_name_resolution(tmp_path / "names.yaml", tmp_path / "names.sqlite")

    found = yaml.safe_load((tmp_path / "names.yaml").read_text())["spec"]["nameResolution"]
    settings = found["configuration"]
    assert ("sqlite", str(tmp_path / "names.sqlite"), "0s") == (
        found["component"],
        settings["connectionString"],
        settings["cleanupInterval"],
    )
    assert int(settings["updateInterval"][:-1]) > int(settings["timeout"][:-1])
