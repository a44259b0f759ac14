"""Tests of the live page in the compose file: its services, its rights, and its settings.

These tests read files only and need no container engine.
"""

from __future__ import annotations

import copy
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from click.testing import CliRunner

from sidecart.cli.scopes import command as scopes
from sidecart.issuer import keys
from sidecart.launcher import access_control, monitor, sidecar
from sidecart.launcher.apps import read_apps, resource_folders
from sidecart.launcher.identities import mtls_flags
from sidecart.launcher.project import root
from sidecart.launcher.servers import valkey
from sidecart.launcher.servers.login_templates import RABBITMQ, REDIS
from sidecart.launcher.servers.rabbitmq_definitions import PAGE_QUEUE_MS
from sidecart.launcher.servers.rabbitmq_keeper import TOKENS
from sidecart.launcher.servers.rabbitmq_queues import name_of
from sidecart.launcher.servers.registry import BROKERS
from sidecart.launcher.sidecar import Sidecar
from sidecart.launcher.tokens import TOKEN_BYTES
from sidecart.launcher.topics import GATEWAY, MONITOR, app_ids, monitor_subscriptions
from sidecart.launcher.topology import app_for_sidecar, app_of, readers, replica_names
from sidecart.monitor import containers
from sidecart.monitor.settings import Settings, read
from tests.unit.test_compose_file import (
    ADDRESSES,
    COMPOSE,
    DOCKERFILE,
    FILE,
    FOLDER,
    PAGE_SIDECAR,
    PORTS,
    SERVICES,
    environment,
    flags,
    interpolated,
    members,
    seconds,
    variables,
)

PAGE = SERVICES[MONITOR]
KEY_FILE = "secrets/live-page.env"
PROFILES = {MONITOR: ["live"], PAGE_SIDECAR: ["live"]}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Run make-secrets in a temporary folder; return its secrets folder."""
    for name in ("make-secrets", "page-address", "docker-compose.yml"):
        shutil.copy(FOLDER / name, tmp_path)
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    return tmp_path / "secrets"


def option(name: str) -> str:
    """Return the value of an option in the command of the page."""
    words = PAGE["command"]
    return str(words[words.index(name) + 1])


def given(folder: Path, changes: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of the page's container, with another value for some variables."""
    plain = {name: re.sub(r"\$\{\w+-([^}]*)\}", r"\1", value) for name, value in environment(MONITOR, folder).items()}
    return {**plain, **changes}


def settings(folder: Path, changes: Mapping[str, str] = MappingProxyType({}), gateways: int = 1) -> Settings:
    """Return the settings that the page reads in its container."""
    return read(
        containers.environment(
            given(folder, changes),
            app=option("--app"),
            sidecar=option("--sidecar"),
            gateways=gateways,
            keys=option("--issuer-keys"),
        )
    )


def open_parts(services: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the parts of the file by which the page, its key or its login reach too far."""
    page, own = services[MONITOR], services[PAGE_SIDECAR]
    words = [interpolated(word) for word in own["command"]]
    wrong = {
        "the page is published beyond loopback": [p for p in page["ports"] if not p.startswith("127.0.0.1:")],
        "its sidecar is published": own.get("ports"),
        "its sidecar has another network": set(own["networks"]) - {"mesh"},
        "its sidecar allows more calls": []
        if words.index("--config=/monitor.yaml") > words.index("--config=/dapr/gateway.yaml")
        else words,
        "its sidecar has a store or a policy": [
            word for word in words if word.startswith("--resources-path=") and "/brokers/" not in word
        ],
        "another container has its key": holders(services, KEY_FILE) - {MONITOR},
        "another container has its login": holders(services, f"secrets/{MONITOR}-servers.env")
        - {MONITOR, PAGE_SIDECAR},
        "another container has its token": holders(services, f"secrets/{MONITOR}.env") - {MONITOR, PAGE_SIDECAR},
        "it starts without its profile": [n for n, wanted in PROFILES.items() if services[n].get("profiles") != wanted],
    }
    return [what for what, found in wrong.items() if found]


def holders(services: Mapping[str, Mapping[str, Any]], file: str) -> set[str]:
    """Return the services with an env file."""
    return {
        name
        for name, each in services.items()
        if file in ([each["env_file"]] if isinstance(each.get("env_file"), str) else each.get("env_file", []))
    }


def test_the_page_reaches_no_further_than_it_needs() -> None:
    """Its port is on loopback, and its key, its login and its token are in no other container."""
    assert [] == open_parts(SERVICES)


@pytest.mark.parametrize(
    ("name", "change", "found"),
    [
        (MONITOR, {"ports": ["8001:8001"]}, "the page is published beyond loopback"),
        (PAGE_SIDECAR, {"ports": ["127.0.0.1:3500:3500"]}, "its sidecar is published"),
        (PAGE_SIDECAR, {"networks": ["mesh", "front"]}, "its sidecar has another network"),
        (
            PAGE_SIDECAR,
            {"command": ["--config=/monitor.yaml", "--config=/dapr/gateway.yaml"]},
            "its sidecar allows more calls",
        ),
        (
            PAGE_SIDECAR,
            {"command": [*SERVICES[PAGE_SIDECAR]["command"], "--resources-path=/components/stores/redis"]},
            "its sidecar has a store or a policy",
        ),
        ("order", {"env_file": [KEY_FILE]}, "another container has its key"),
        ("order", {"env_file": [f"secrets/{MONITOR}-servers.env"]}, "another container has its login"),
        ("keeper", {"env_file": f"secrets/{MONITOR}.env"}, "another container has its token"),
        (MONITOR, {"profiles": None}, "it starts without its profile"),
    ],
)
def test_a_page_that_reaches_further_is_found(name: str, change: dict[str, Any], found: str) -> None:
    """Each change takes one control out."""
    changed = copy.deepcopy(SERVICES)
    changed[name] = {**changed[name], **change}

    assert [found] == open_parts(changed)


@pytest.mark.parametrize("broker", BROKERS)
def test_its_sidecar_gets_the_launchers_flags(broker: str) -> None:
    """The launcher starts the page's sidecar with the broker's components only, and without an app;
    only addresses and ports differ.
    """
    app = read_apps()[GATEWAY]
    folders = monitor.resources(resource_folders(app.resources, broker, "redis"))
    configs = (app.config, root() / access_control.FILE, Path("/monitor.yaml"), Path("/names.yaml"))
    words = sidecar.command(Path("./daprd"), app, Sidecar(MONITOR, 0, 0, 0, None), folders, configs)
    expected = flags([*words, *mtls_flags(0), *monitor.SIDECAR_FLAGS])
    actual = {
        (name, str(root()) + value) if value.startswith(("/components", "/dapr")) else (name, value)
        for name, value in flags([interpolated(word, BROKER=broker) for word in SERVICES[PAGE_SIDECAR]["command"]])
    }
    free = ADDRESSES | PORTS

    assert {one for one in expected if one[0] not in free} == {one for one in actual if one[0] not in free}
    assert {name for name, _ in expected} - ADDRESSES == {name for name, _ in actual} - ADDRESSES


def test_its_sidecar_may_only_subscribe() -> None:
    """The file is generated, and mounted where the sidecar reads it."""
    text = (root() / monitor.CONTAINERS_FILE).read_text(encoding="utf-8")

    assert monitor.container_configuration() == text, "run `./sidecart scopes`"
    assert "./monitor.yaml:/monitor.yaml:ro" in SERVICES[PAGE_SIDECAR]["volumes"]
    assert set(SERVICES["order-dapr"]["volumes"]) < set(SERVICES[PAGE_SIDECAR]["volumes"])


def test_scopes_finds_an_old_file() -> None:
    """`sidecart scopes --check` compares this file too."""
    done = CliRunner().invoke(scopes, ["--check"], standalone_mode=False)

    assert f"{monitor.CONTAINERS_FILE} is up to date" in done.output


@pytest.mark.parametrize("gateways", [1, 3])
def test_the_page_reaches_every_process(secrets: Path, gateways: int) -> None:
    """Each host is one container on a network of the page, by the right port and with its token."""
    found = settings(secrets, gateways=gateways)
    replicas = replica_names(gateways, {})

    assert len(replicas) * 2 == len(found.hosts) == len(found.ports) == len(found.tokens)
    for process, host in found.hosts.items():
        replica = app_for_sidecar(process)
        assert [host] == containers_named(host), f"{FILE}: {host} is not one container for the page"
        assert host == (process if replica is None else f"{replica}-dapr")
        token = "APP_API_TOKEN" if replica is None else "DAPR_API_TOKEN"
        assert environment(app_of(replica or process), secrets)[token] == found.tokens[process]
        own = dict(flags(SERVICES[f"{app_of(replica or process)}-dapr"]["command"]))
        assert own["--app-port" if replica is None else "--dapr-http-port"] == str(found.ports[process])
    assert (PAGE_SIDECAR, dict(flags(SERVICES[PAGE_SIDECAR]["command"]))["--dapr-grpc-port"]) == (
        found.dapr_host,
        str(found.dapr_grpc_port),
    )
    assert [PAGE_SIDECAR] == containers_named(PAGE_SIDECAR)


def containers_named(host: str) -> list[str]:
    """Return the services that have a name on one of the page's networks."""
    found = []
    for network in PAGE["networks"]:
        for name in members(network):
            entry = SERVICES[name]["networks"]
            aliases = (entry[network] or {}).get("aliases", []) if isinstance(entry, dict) else []
            found += [name] if host in (name, *aliases) else []
    return sorted(set(found))


def test_the_page_reaches_the_gateway_the_mails_and_the_broker(secrets: Path) -> None:
    """The hosts of its other addresses are containers on its networks."""
    mail = SERVICES["mail"]["command"]
    for broker in BROKERS:
        found = settings(secrets, {"BROKER": broker})
        hosts = {re.sub(r"^\w+://|.*@", "", address) for address in (found.gateway_url, found.mail_url)}
        [(place, login)] = {(found.broker_address.rpartition("@")[2], found.broker_address.rpartition("@")[0])}

        assert {"gateway:8000", f"mail:{mail[mail.index('--http-port') + 1]}"} == hosts
        assert f"{MONITOR}:{variables(secrets / f'{MONITOR}-servers.env')[valkey.PASSWORD]}" in login
        for host in ("gateway", "mail", place.partition(":")[0]):
            assert [host] == containers_named(host)


def test_the_page_has_the_port_that_it_is_published_on(secrets: Path) -> None:
    """It compares the Host header with its own port; LIVE_PORT changes all of them."""
    for port in ("8001", "9000"):
        [published] = [interpolated(each, LIVE_PORT=port) for each in PAGE["ports"]]
        assert f"127.0.0.1:{port}:{port}" == published
        assert port == interpolated(PAGE["environment"]["APP_PORT"], LIVE_PORT=port)
        assert f"http://127.0.0.1:{port}/healthz" in interpolated(PAGE["healthcheck"]["test"][-1], LIVE_PORT=port)
    assert monitor.PORT == settings(secrets).port
    assert "0.0.0.0" == settings(secrets).host


def test_the_page_acts_for_callers_of_the_local_issuer_only(secrets: Path) -> None:
    """It has the settings of the gateway. With another issuer it has no key of tokens, so that its
    forms are off and an operator's token is needed.
    """
    own = {name: value for name, value in PAGE["environment"].items() if name.startswith("OIDC_")}
    [secret] = PAGE["secrets"]
    local, other = settings(secrets), settings(secrets, {"OIDC_ISSUER": "https://issuer.example"})

    assert own == {name: SERVICES["gateway"]["environment"][name] for name in own}
    assert 4 == len(own)
    assert Path(f"/run/secrets/{secret}") == local.issuer_keys
    assert 1 == len(keys.load(secrets.parent / COMPOSE["secrets"][secret]["file"]).keys)
    assert other.issuer_keys is None
    assert other.auth is not None


def test_the_page_has_a_key_of_its_own(secrets: Path, tmp_path: Path) -> None:
    """The key is random, stays over runs of make-secrets, and page-address prints it."""
    key = variables(secrets / "live-page.env")["PAGE_KEY"]
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    printed = {
        port: subprocess.run(
            [tmp_path / "page-address"], env={"LIVE_PORT": port}, check=True, capture_output=True, text=True
        ).stdout
        for port in ("", "9000")
    }

    assert re.fullmatch(f"[0-9a-f]{{{2 * TOKEN_BYTES}}}", key)
    assert key == settings(secrets).key == variables(secrets / "live-page.env")["PAGE_KEY"]
    assert {
        port: f"{monitor.address(f'http://127.0.0.1:{port or monitor.PORT}', key)}\n" for port in printed
    } == printed


def test_the_tokens_of_the_page_end_with_those_of_the_apps(secrets: Path) -> None:
    """The page has all of them, and the keeper none of the page."""
    made = {name: variables(secrets / name) for name in ("live-page.env", "keeper.env")}

    assert {f"{app_id}.env" for app_id in app_ids()} == {
        f"{pair.partition('=')[0]}.env" for pair in made["live-page.env"][containers.APP_TOKENS].split(",")
    }
    assert made["keeper.env"][TOKENS] == made["live-page.env"][TOKENS]
    assert MONITOR not in made["keeper.env"][TOKENS]


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"BROKER": "kafka"}, "BROKER"),
        ({"BROKER": ""}, "BROKER"),
        ({"REDIS_PASSWORD": ""}, "REDIS_PASSWORD"),
        ({"BROKER": "rabbitmq", "AMQP_URL": ""}, "AMQP_URL"),
        ({"APP_TOKENS": "gateway=a"}, "APP_TOKENS: has no token of user"),
        ({"SIDECAR_TOKENS": ""}, "SIDECAR_TOKENS"),
        ({"PAGE_KEY": ""}, "PAGE_KEY"),
    ],
)
def test_a_missing_setting_is_named(secrets: Path, changes: dict[str, str], named: str) -> None:
    """The page exits with the name of the setting."""
    with pytest.raises(SystemExit, match=named):
        settings(secrets, changes)


def test_the_page_may_finish_its_work() -> None:
    """It ends its subscriptions and removes its groups or queues before the engine kills it."""
    assert seconds(PAGE["stop_grace_period"]) > monitor.STOP_SECONDS
    assert "sidecart.monitor.containers" in PAGE["command"]
    assert "COPY src src" in DOCKERFILE


def test_the_login_of_the_page_publishes_nothing() -> None:
    """At Redis it may not add an entry, and at RabbitMQ it may not write to an exchange."""
    acl = (root() / REDIS).read_text(encoding="utf-8")
    [rule] = [line for line in acl.splitlines() if line.startswith(f"user {MONITOR} ")]
    document = json.loads((root() / RABBITMQ).read_text(encoding="utf-8"))
    [rights] = [each for each in document["permissions"] if each["user"] == MONITOR]

    assert "+xreadgroup" in rule
    assert "+xadd" not in rule
    assert not re.search(r"\+(hset|set|eval|@all)", rule)
    for one in monitor_subscriptions():
        assert re.search(rights["read"], one.topic)
        assert re.search(rights["write"], name_of(one))
        assert not re.search(rights["write"], one.topic)


def test_rabbitmq_forgets_the_queues_of_a_page_that_has_gone() -> None:
    """The policy expires the page's queues, and no other one."""
    [policy] = json.loads((root() / RABBITMQ).read_text(encoding="utf-8"))["policies"]

    assert {"expires": PAGE_QUEUE_MS} == policy["definition"]
    assert "queues" == policy["apply-to"]
    assert all(re.search(policy["pattern"], name_of(one)) for one in monitor_subscriptions())
    assert not any(re.search(policy["pattern"], name_of(one)) for one in readers(replica_names(3, {})))
