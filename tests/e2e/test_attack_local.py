"""Attacks of another user of the machine, who has no rights on the shop's files and no tokens."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from sidecart.launcher import monitor, sentry
from sidecart.launcher.lifecycle.plan import ISSUER, MAIL_HTTP
from sidecart.launcher.lifecycle.system import System
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.topics import GATEWAY, app_ids, service_ids
from sidecart.launcher.topology import metrics_of, sidecar_of
from tests.e2e import stranger
from tests.e2e.conftest import broker, options, store
from tests.e2e.peers import CALL_LOCAL, SIGN
from tests.e2e.shopper import SECONDS

pytestmark = [
    pytest.mark.own_shop,
    pytest.mark.sidecars,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user"),
]

NOBODY = 65_534
METADATA = "/dapr.proto.runtime.v1.Dapr/GetMetadata"
STATE = "/dapr.proto.runtime.v1.Dapr/GetState"


@pytest.fixture(scope="module")
def shop() -> Iterator[System]:
    """Start a shop in a folder whose parents every user may enter."""
    with tempfile.TemporaryDirectory(prefix="sidecart-local-") as name:
        outer = Path(name)
        outer.chmod(0o755)
        with System(replace(options(outer / ".sidecart"), monitor=True), print) as running:
            running.plan.run_folder.mkdir(exist_ok=True)
            running.state.described().write(running.plan.run_folder)
            yield running


@dataclass(frozen=True, slots=True)
class Found:
    """The finds of the stranger."""

    files: list[str]
    http: dict[str, int]
    grpc: list[str]
    servers: list[str]


def explore(**targets: Any) -> Found:
    """Let the stranger try targets, as a user without rights."""
    wanted = {"user": NOBODY, "files": [], "http": {}, "grpc": {}, "servers": {}} | targets
    done = subprocess.run(
        [sys.executable, "-I", "-S", stranger.__file__],
        input=json.dumps(wanted),
        text=True,
        capture_output=True,
        timeout=SECONDS * 5,
        check=False,
    )
    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)
    assert NOBODY == found.pop("user")
    return Found(**found)


def files_of(shop: System) -> list[str]:
    """Return every file and folder of the shop, and the environments and open files of its
    processes.
    """
    folder = shop.options.folder
    pids = shop.processes.values()
    return [
        *(str(each) for each in (folder, *folder.rglob("*"))),
        *(f"/proc/{pid}/{name}" for pid in pids for name in ("environ", "mem", "fd", "cwd")),
    ]


@pytest.mark.attack("processes", "another user reads files, memory and environments", "private files")
def test_another_user_reads_no_file(shop: System) -> None:
    """Neither tokens, keys, logins and logs, nor the environment of a process."""
    files = files_of(shop)

    for name in ("run.json", "issuer", "logs", "identities"):
        assert any(name in each for each in files), name
    assert [] == explore(files=files).files


@contextmanager
def readable_by_all(folder: Path) -> Iterator[None]:
    """Give every user the rights to read a folder and its files."""
    before = {path: path.stat().st_mode for path in (folder, *folder.rglob("*")) if not path.is_symlink()}
    for path, mode in before.items():
        if path.is_dir() or path.is_file():
            path.chmod(mode & 0o7777 | (0o055 if path.is_dir() else 0o044))
    try:
        yield
    finally:
        for path, mode in before.items():
            if path.exists():
                path.chmod(mode & 0o7777)


@pytest.mark.mutant("processes", "another user reads files, memory and environments", "private files")
def test_with_the_usual_rights_another_user_reads_keys_and_tokens(shop: System) -> None:
    """The rights of the files are what prevents it."""
    files = [shop.issuer_folder / "keys.json", shop.plan.run_folder / "run.json"]
    files[0] = next(path for path in shop.issuer_folder.iterdir() if path.is_file())
    for part in (shop.issuer_folder, shop.plan.run_folder):
        with readable_by_all(part):
            shop.options.folder.chmod(0o755)
            try:
                found = explore(files=[str(path) for path in files if path.is_relative_to(part)]).files
            finally:
                shop.options.folder.chmod(0o700)
        assert 1 == len(found), part


@pytest.mark.attack("processes", "another user reads command lines", "private files")
def test_no_command_line_has_a_token(shop: System) -> None:
    """Every user sees the command lines."""
    secrets = {*shop.tokens.values(), shop.plan.page_key}
    lines = [" ".join(psutil.Process(pid).cmdline()) for pid in shop.processes.values()]

    assert [] == [line for line in lines for secret in secrets if secret in line]


@pytest.mark.attack("processes", "another user calls apps, sidecars, sentry", "token of an app")
def test_another_user_calls_no_process(shop: System) -> None:
    """Without a token, only health and the public paths of the gateway answer."""
    ports, http = shop.ports, dict[str, tuple[int, str, str, str]]()
    for app_id in app_ids():
        sidecar = shop.sidecars.port(app_id)
        http |= {
            f"{app_id} subscriptions": (ports[app_id], "GET", "/dapr/subscribe", ""),
            f"{app_id} event": (ports[app_id], "POST", "/events/inbox/AccountDepositRequested", "{}"),
            f"{app_id} sidecar metadata": (sidecar, "GET", "/v1.0/metadata", ""),
            f"{app_id} sidecar state": (sidecar, "POST", "/v1.0/state/statestore", "[]"),
            f"{app_id} sidecar publish": (sidecar, "POST", "/v1.0/publish/pubsub/OrderPaid", "{}"),
            f"{app_id} sidecar invoke": (sidecar, "GET", "/v1.0/invoke/user/method/readyz", ""),
            f"{app_id} sidecar shutdown": (sidecar, "POST", "/v1.0/shutdown", "{}"),
        }
    http |= {f"{app_id} read": (ports[app_id], "GET", "/user/x", "") for app_id in service_ids()}
    http |= {
        "gateway secret": (ports[GATEWAY], "POST", "/key-secret", ""),
        "gateway flows": (ports[GATEWAY], "GET", "/reconcile", ""),
        "gateway order": (ports[GATEWAY], "POST", "/order/create", "{}"),
        "live page": (ports[monitor.NAME], "GET", "/", ""),
        "live page stream": (ports[monitor.NAME], "GET", "/live", ""),
        "live page order": (ports[monitor.NAME], "POST", "/api/order/create", "{}"),
        "live page sidecar": (ports[sidecar_of(monitor.NAME)], "GET", "/v1.0/metadata", ""),
    }
    grpc: dict[str, tuple[int, str, bool]] = {"sentry": (ports[sentry.NAME], SIGN, True)}
    for app_id, sidecar_state in shop.state.sidecars.items():
        grpc |= {
            f"{app_id} metadata": (sidecar_state.grpc_port, METADATA, False),
            f"{app_id} state": (sidecar_state.grpc_port, STATE, False),
            f"{app_id} internal": (sidecar_state.internal_port, CALL_LOCAL, False),
            f"{app_id} internal by TLS": (sidecar_state.internal_port, CALL_LOCAL, True),
        }
    found = explore(http=http, grpc=grpc)

    assert {} == {name: status for name, status in found.http.items() if status not in (0, 401, 403, 404)}
    assert [] == found.grpc


@pytest.mark.attack("servers", "another user connects to broker and store", "logins")
def test_another_user_connects_to_no_server(shop: System) -> None:
    """Neither as the usual guest of RabbitMQ nor as PostgreSQL's administrator."""
    ports = {
        name: urlsplit(f"//{shop.state.addresses[server.env].rpartition('//')[2]}").port
        for name, server in ((broker(), BROKERS[broker()]), (store(), STORES[store()]))
    }

    assert [] == explore(servers=ports).servers


def test_the_openings_for_other_users_are_the_documented_ones(shop: System) -> None:
    """Without these answers the attacks above would test a stopped shop (SECURITY.md, "Open")."""
    ports = shop.ports
    http = {
        "gateway products": (ports[GATEWAY], "GET", "/products", ""),
        "service health": (ports["user"], "GET", "/healthz", ""),
        "sidecar health": (shop.sidecars.port("user"), "GET", "/v1.0/healthz", ""),
        "mails": (ports[MAIL_HTTP], "GET", "/mails", ""),
        "public keys": (ports[ISSUER], "GET", "/jwks.json", ""),
        "metrics": (ports[metrics_of("user")], "GET", "/metrics", ""),
        "live page health": (ports[monitor.NAME], "GET", "/healthz", ""),
    }
    found = explore(http=http, files=["/etc/hostname"])

    assert {name: 204 if name == "sidecar health" else 200 for name in http} == found.http
    assert ["/etc/hostname"] == found.files
