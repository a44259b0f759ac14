"""Java's default HTTP client works: it offers HTTP/2 with each request, and gets responses over
HTTP/1.1.
"""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from shop.acting import acting
from sidecart.launcher import proxy
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import replicas_of

CLIENT = Path(__file__).parent / "java" / "Client.java"
SECONDS_MAX = 120


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Start a shop with two gateways behind a proxy."""
    with System(Options("redis", folder=tmp_path_factory.mktemp("java"), gateways=2), print) as running:
        yield running


@pytest.mark.parametrize("name", [proxy.NAME, replicas_of(GATEWAY, 2)[0]])
def test_java_registers_users(shop: System, name: str) -> None:
    """Each registration returns 201 with its own name, over one connection, with and without the
    proxy.
    """
    bodies = [{"email": f"{uuid.uuid4().hex}@example.com", "name": each} for each in ("Ann", "Zoë" * 50, "Ben")]
    tokens = [acting(shop.issuer_folder).headers("/user/register", body)["authorization"] for body in bodies]
    done = subprocess.run(
        [
            *("java", str(CLIENT), f"http://127.0.0.1:{shop.ports[name]}/user/register"),
            "\n".join(json.dumps(body) for body in bodies),
            "\n".join(tokens),
        ],
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )

    assert 0 == done.returncode, done.stderr
    answers = [line.split(" ", 2) for line in done.stdout.splitlines()]
    assert [("201", "HTTP_1_1")] * len(bodies) == [(status, version) for status, version, _ in answers]
    assert [body["name"] for body in bodies] == [json.loads(output)["name"] for _, _, output in answers]
