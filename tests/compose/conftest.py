"""The container engine of the tests."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from sidecart.launcher.programs import cache_folder
from sidecart.launcher.servers.registry import BROKERS, STORES
from tests.compose import images
from tests.compose.engine import Engine
from tests.compose.stack import FOLDER, SECRETS, services


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """Return an engine with all images of the files; the test run leaves no container, volume or
    network.
    """
    cache = cache_folder() / "compose"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        engine = Engine(cache)
        engine.clean()  # remove leftovers of a killed run
        started = services(*BROKERS, *STORES, "gateways")
        images.make(engine, cache, images.images_of((FOLDER / "Dockerfile").read_text("utf-8"), started), print)
        yield engine
        assert "" == engine.podman("ps", "--all", "--quiet")
        assert "" == engine.podman("volume", "ls", "--quiet")
        assert ["podman"] == engine.podman("network", "ls", "--format", "{{.Name}}").split()
        engine.podman("image", "prune", "--force")  # the layers of older builds


@pytest.fixture(scope="module")
def secrets() -> Iterator[None]:
    """Create the secrets with make-secrets; keep existing ones."""
    was_there = SECRETS.exists()
    subprocess.run([FOLDER / "make-secrets"], check=True)
    yield
    if not was_there:
        shutil.rmtree(SECRETS)
