"""The configuration and environment of a sidecar."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from sidecart.launcher.environment import observed_environment
from sidecart.launcher.sidecar import environment, write_mdns, write_name_resolution


def test_names_are_stored_in_the_shops_own_file_and_never_cleaned_up(tmp_path: Path) -> None:
    """The cleanup would remove the names of running sidecars, which then exit (ADR 4)."""
    write_name_resolution(tmp_path / "names.yaml", tmp_path / "names.sqlite")

    found = yaml.safe_load((tmp_path / "names.yaml").read_text())["spec"]["nameResolution"]
    settings = found["configuration"]
    assert ("sqlite", "0s") == (found["component"], settings["cleanupInterval"])
    assert settings["connectionString"].startswith(f"file:{tmp_path}/names.sqlite?")


def test_no_sidecar_waits_long_for_the_name_database(tmp_path: Path) -> None:
    """A sidecar that times out at startup runs on without being found (ADR 4)."""
    write_name_resolution(tmp_path / "names.yaml", tmp_path / "names.sqlite")

    settings = yaml.safe_load((tmp_path / "names.yaml").read_text())["spec"]["nameResolution"]["configuration"]
    assert settings["connectionString"].endswith("?_pragma=synchronous(OFF)")
    interval, margin, lock = (int(settings[key][:-1]) for key in ("updateInterval", "timeout", "busyTimeout"))
    assert interval > margin > lock > 2
    with closing(sqlite3.connect(tmp_path / "names.sqlite")) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_a_folder_may_contain_special_characters(tmp_path: Path) -> None:
    """The connection string is a URI, so the path is escaped."""
    folder = tmp_path / "a shop? 100%"
    folder.mkdir()
    write_name_resolution(folder / "names.yaml", folder / "names.sqlite")

    settings = yaml.safe_load((folder / "names.yaml").read_text())["spec"]["nameResolution"]["configuration"]
    with closing(sqlite3.connect(settings["connectionString"].partition("?")[0], uri=True)) as connection:
        assert connection.execute("PRAGMA database_list").fetchone()[2] == str(folder / "names.sqlite")


@pytest.mark.parametrize(("cores", "external", "expected"), [(2, None, "1"), (16, None, "4"), (16, "3", "3")])
def test_five_sidecars_do_not_each_take_every_core(
    monkeypatch: pytest.MonkeyPatch, cores: int, external: str | None, expected: str
) -> None:
    """A sidecar uses a fourth of the cores, or the configured number."""
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.delenv("GOMAXPROCS", raising=False)
    if external:
        monkeypatch.setenv("GOMAXPROCS", external)

    assert expected == environment({}, {}, "gateway-0", "gateway-sidecar")["GOMAXPROCS"]


@pytest.mark.parametrize(("external", "expected"), [(None, "400"), ("", "400"), ("50", "50")])
def test_a_sidecar_collects_garbage_later_than_by_default(
    monkeypatch: pytest.MonkeyPatch, external: str | None, expected: str
) -> None:
    """A sidecar has the launcher's percentage, or the configured one."""
    monkeypatch.delenv("GOGC", raising=False)
    if external is not None:
        monkeypatch.setenv("GOGC", external)

    assert expected == environment({}, {}, "gateway-0", "gateway-sidecar")["GOGC"]


def test_a_sidecar_without_the_resolver_uses_mdns(tmp_path: Path) -> None:
    """dapr/config.yaml names a resolver that this sidecar lacks."""
    write_mdns(tmp_path / "names.yaml")

    assert "mdns" == yaml.safe_load((tmp_path / "names.yaml").read_text())["spec"]["nameResolution"]["component"]


def test_a_sidecar_has_trace_settings_only_with_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings include a service name and the protocol that matches the address."""
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "7")
    off = environment({}, {}, "order-0", "order-sidecar")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/")
    on = environment({}, {}, "order-0", "order-sidecar")

    assert [] == [name for name in off if name.startswith("OTEL_")]
    assert {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_BSP_SCHEDULE_DELAY": "7",
        "OTEL_SERVICE_NAME": "order-sidecar",
    } == {name: value for name, value in on.items() if name.startswith("OTEL_")}


def test_log_settings_of_the_environment_reach_the_apps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other variables are not passed on."""
    for name in ("LOG_FORMAT", "LOG_LEVEL", "OTEL_EXPORTER_OTLP_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    assert {} == observed_environment()

    monkeypatch.setenv("LOG_FORMAT", "json")
    monkeypatch.setenv("APP_PORT", "1")
    assert {"LOG_FORMAT": "json"} == observed_environment()
