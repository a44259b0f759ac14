"""A Configuration that lets no app keep its state or publish stops the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecart.launcher import allowed_calls
from sidecart.launcher.apps import read_apps
from sidecart.launcher.errors import LaunchError

HTTP = "{name: state, version: v1.0, protocol: http}, {name: publish, version: v1.0, protocol: http}"
METADATA = "{name: metadata, version: v1, protocol: grpc}"
GRPC = "{name: state, version: v1, protocol: grpc}, {name: publish, version: v1, protocol: grpc}"


def configuration(folder: Path, spec: str) -> Path:
    """Write a Configuration."""
    file = folder / "config.yaml"
    file.write_text(f"kind: Configuration\nspec: {spec}\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("api", ["http", "grpc"])
def test_the_configurations_of_the_project_allow_both_apis(api: str) -> None:
    """Each app may choose."""
    for app in read_apps().values():
        allowed_calls.check(app.config, api)


@pytest.mark.parametrize(
    "spec",
    ["{}", "{api: {}}", "{api: {allowed: []}}", f"{{api: {{allowed: [{HTTP}]}}}}", f"{{api: {{allowed: [{GRPC}]}}}}"],
)
def test_a_list_without_an_entry_for_a_protocol_allows_all_of_it(spec: str, tmp_path: Path) -> None:
    """So does no list."""
    for api in ("http", "grpc"):
        allowed_calls.check(configuration(tmp_path, spec), api)


def test_a_missing_entry_is_named(tmp_path: Path) -> None:
    """The message is the line to add."""
    file = configuration(tmp_path, f"{{api: {{allowed: [{HTTP}, {METADATA}]}}}}")

    allowed_calls.check(file, "http")
    line = r"\{name: state, version: v1, protocol: grpc\}"
    with pytest.raises(LaunchError, match=rf"SIDECAR_API=grpc needs .*{line}, .* Or set SIDECAR_API=http"):
        allowed_calls.check(file, "grpc")


@pytest.mark.parametrize("spec", ["[]", "{api: {allowed: [{name: state}]}}"])
def test_a_configuration_of_another_form_is_named(spec: str, tmp_path: Path) -> None:
    """daprd would end with it, or ignore it."""
    with pytest.raises(LaunchError, match=r"config\.yaml: "):
        allowed_calls.check(configuration(tmp_path, spec), "grpc")
