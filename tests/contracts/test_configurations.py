"""Each sidecar accepts the calls that its app needs, and no others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from sidecart.launcher.apps import read_apps
from sidecart.launcher.project import root
from sidecart.launcher.topics import GATEWAY

SERVICES, OF_THE_GATEWAY = Path("dapr/config.yaml"), Path("dapr/gateway.yaml")
NEEDED = {
    ("state", "v1.0", "http"),
    ("publish", "v1.0", "http"),
    ("metadata", "v1.0", "http"),
    ("shutdown", "v1.0", "http"),
    ("state", "v1", "grpc"),
    ("publish", "v1", "grpc"),
    ("metadata", "v1", "grpc"),
}
"""State and publishes over both APIs: an app uses one, and the launcher HTTP."""
INVOKE = ("invoke", "v1.0", "http")


def spec(file: Path) -> dict[str, Any]:
    """Return the spec of a Configuration."""
    return dict(yaml.safe_load((root() / file).read_text(encoding="utf-8"))["spec"])


def allowed(file: Path) -> set[tuple[str, str, str]]:
    """Return the allowed calls: name, version and protocol."""
    return {(each["name"], each["version"], each["protocol"]) for each in spec(file)["api"]["allowed"]}


def test_only_the_gateway_may_call_other_apps() -> None:
    """An entry for gRPC closes the rest of gRPC."""
    assert NEEDED == allowed(SERVICES)
    assert NEEDED | {INVOKE} == allowed(OF_THE_GATEWAY)


def test_the_two_files_differ_in_nothing_else() -> None:
    """The CLI reads one Configuration per app."""
    ours, gateways = spec(SERVICES), spec(OF_THE_GATEWAY)

    assert {**ours, "api": None} == {**gateways, "api": None}, f"{OF_THE_GATEWAY} differs from {SERVICES}"


def test_each_app_has_its_configuration() -> None:
    """dapr.yaml names it; the compose file is compared with dapr.yaml."""
    configs = {app_id: app.config.relative_to(root()) for app_id, app in read_apps().items()}

    assert {app_id: OF_THE_GATEWAY if app_id == GATEWAY else SERVICES for app_id in configs} == configs
