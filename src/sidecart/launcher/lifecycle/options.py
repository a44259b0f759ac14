"""The options of a start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

Report = Callable[[str], None]
"""Receives each line about the progress."""


EXTERNAL = "external"
"""The subfolder with the passwords of the apps' logins at external servers."""


@dataclass(frozen=True, slots=True)
class Options:
    """The parts of a system. The launcher chooses the options that are None."""

    broker: str = "redis"
    store: str = "redis"
    port: int | None = None
    folder: Path = field(kw_only=True)
    without: frozenset[str] = frozenset()
    resources: tuple[Path, ...] | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    replaced: Mapping[str, Path] = field(default_factory=dict)
    """Maps an app-id to the folder of a program that replaces ours.

    The folder's dapr.yaml defines how it starts.
    """
    components: Path | None = None
    """A folder of components that replaces broker and store; its servers run already."""
    external: Mapping[str, str] = field(default_factory=dict)
    """Maps a server's environment variable to the address of an external server."""
    app_logins: bool = False
    """Whether each app has its own login at the external servers (`sidecart credentials`)."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The launcher's environment.

    Each app receives the settings that it reads (src/sidecart/launcher/lifecycle/settings.py).
    """
    gateways: int = 1
    """Several gateways run behind a proxy."""
    replicas: Mapping[str, int] = field(default_factory=dict)
    """Maps an app-id to the number of replicas of a service."""
    monitor: bool = False
    """Whether to start the live page."""
