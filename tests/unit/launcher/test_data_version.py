"""The version of the data on disk: a start on other data fails at once, with the remedy."""

from pathlib import Path

import pytest

from sidecart.launcher import data_version
from sidecart.launcher.data_version import FILE, VERSION, check
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.system import Options, System


def test_an_empty_folder_gets_this_version_and_is_accepted_again(tmp_path: Path) -> None:
    """The folder need not exist."""
    for _ in range(2):
        check(tmp_path / "data")

    assert f"{VERSION}\n" == (tmp_path / "data" / FILE).read_text()


def test_data_that_the_servers_take_over_get_this_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So an earlier version refuses them from then on."""
    monkeypatch.setattr(data_version, "UPGRADED", ("2",))
    (tmp_path / FILE).write_text("2\n")
    check(tmp_path)

    assert f"{VERSION}\n" == (tmp_path / FILE).read_text()


@pytest.mark.parametrize(("written", "found"), [(None, "1"), ("3\n", "3"), ("5\n", "5")])
def test_data_of_another_version_end_the_start_with_the_remedy(tmp_path: Path, written: str | None, found: str) -> None:
    """Also of a later one; version 1 has no version file. Nothing is changed."""
    data = tmp_path / "data" / "redis-redis"
    (data / "valkey").mkdir(parents=True)
    if written is not None:
        (data / FILE).write_text(written)

    with pytest.raises(LaunchError, match=rf"data of version {found}, .* reads version {VERSION}: `./sidecart reset`"):
        System(Options("redis", folder=tmp_path), print).start()

    assert written == ((data / FILE).read_text() if written is not None else None)
    assert not (tmp_path / "run").exists()
