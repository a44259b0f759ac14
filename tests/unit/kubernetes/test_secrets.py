"""The Secrets: each app has its own tokens and logins, and a repeated call keeps the values."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecart.issuer import keys
from sidecart.kubernetes import names, pods, secrets, servers
from sidecart.kubernetes.kustomizations import OVERLAYS
from sidecart.kubernetes.options import SCALER
from sidecart.launcher.apps import read_apps
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.servers.registry import ENVIRONMENT
from sidecart.launcher.topics import MONITOR, app_ids

TRIALS = [name for name, each in OVERLAYS.items() if each.is_trial]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Keep the values in a folder of the test; afterwards, new files have their usual mode."""
    monkeypatch.setattr(secrets, "home", lambda: tmp_path)
    for name in (*ENVIRONMENT, "APP_LOGINS"):
        monkeypatch.delenv(name, raising=False)
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)


def read(overlay: str) -> dict[str, dict[str, str]]:
    """Return the content of each Secret of an overlay."""
    found: list[dict[str, Any]] = list(yaml.safe_load_all(secrets.secrets_text(overlay)))
    return {
        each["metadata"]["name"]: {key: base64.b64decode(value).decode() for key, value in each["data"].items()}
        for each in found
    }


@pytest.mark.parametrize("overlay", TRIALS)
def test_each_secret_that_a_pod_reads_exists(overlay: str) -> None:
    """A pod does not start without it."""
    found = read(overlay)
    for app in read_apps().values():
        annotations = pods.sidecar_annotations(app)
        assert found[annotations["dapr.io/app-token-secret"]]["token"]
        assert found[annotations["dapr.io/api-token-secret"]]["token"]
        for each in annotations["dapr.io/env-from-secret"].split(","):
            secret, _, key = each.partition("=")[2].partition(":")
            assert key in found[secret]
    for server in OVERLAYS[overlay].servers:
        assert found[names.server_secret(server)][servers.PASSWORD]


@pytest.mark.parametrize("overlay", TRIALS)
def test_no_two_apps_share_a_token_or_a_password(overlay: str) -> None:
    """A token or a login of one app opens nothing of another."""
    found = read(overlay)
    tokens = [content["token"] for name, content in found.items() if name.endswith("-token")]
    others = [SCALER, *([TRIMMER] if OVERLAYS[overlay].broker == "redis" else [])]
    logins = [str(found[names.servers_of(login)]) for login in (*app_ids(), *others)]
    assert (TRIMMER in others) == (names.servers_of(TRIMMER) in found)

    assert 2 * len(app_ids()) == len(tokens) == len(set(tokens))
    assert len(logins) == len(set(logins))


def test_a_repeated_call_gives_the_same_values(own_home: Path) -> None:
    """So the pods keep their logins; only the owner can read the values."""
    assert read("redis")["order-servers"] == read("redis")["order-servers"]
    assert {0o600} == {path.stat().st_mode & 0o777 for path in own_home.rglob("*.json")}


def test_the_servers_get_hashes_of_the_passwords() -> None:
    """Redis has the rules of each app; the keeper may count and remove groups."""
    found = read("rabbitmq-postgres") | read("redis")
    users = {line.split()[1]: line for line in found["redis-logins"][servers.ACL_FILE].splitlines()}
    definitions = json.loads(found["rabbitmq-logins"][servers.DEFINITIONS_FILE])
    roles = found["postgres-logins"][servers.ROLES_FILE]
    password = found["order-servers"]["REDIS_PASSWORD"]

    assert {"default", "sidecart", SCALER, TRIMMER, MONITOR, *app_ids()} == users.keys()
    assert "+xadd" not in users[MONITOR]
    assert password not in users["order"]
    assert re.search(r"#[0-9a-f]{64}", users["order"])
    assert "+@all" not in users[SCALER]
    assert "+xgroup|destroy)" in users[SCALER]
    assert not {"+xadd", "+xrange", "+xreadgroup", "+xack", "+hget"} & set(re.split(r"[ ()]", users[SCALER]))
    assert {*app_ids(), SCALER} < {each["name"] for each in definitions["users"]}
    assert [] == [each for each in definitions["users"] if "password" in each]
    assert all(f'CREATE ROLE "{app_id}" LOGIN PASSWORD \'SCRAM-SHA-256$' in roles for app_id in app_ids())


def test_the_issuer_gets_the_key_that_signs_tokens(own_home: Path) -> None:
    """`sidecart token --keys` reads the same folder."""
    content = read("redis")["token-issuer"][keys.FILE]

    assert content == (own_home / "kubernetes/token-issuer" / keys.FILE).read_text(encoding="utf-8")


def test_your_own_servers_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The overlay `external` starts no server, and APP_LOGINS decides about the logins."""
    with pytest.raises(LaunchError, match="set AMQP_URL to the address of your rabbitmq"):
        secrets.secrets_text("external")

    monkeypatch.setenv("AMQP_URL", "amqp://all:word@broker.example.com:5672")
    monkeypatch.setenv("POSTGRES_URL", "postgres://all:word@store.example.com:5432/data")
    shared = read("external")
    assert "amqp://all:word@broker.example.com:5672" == shared["order-servers"]["AMQP_URL"]
    assert "" == shared["order-servers"]["REDIS_HOST"]

    monkeypatch.setenv("APP_LOGINS", "on")
    assert read("external")["order-servers"]["AMQP_URL"].startswith("amqp://order:")
    assert not {"redis-logins", "token-issuer"} & read("external").keys()
