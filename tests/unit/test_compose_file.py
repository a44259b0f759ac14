"""Tests of the compose file: it runs the shop of dapr.yaml in containers.

These tests read files only and need no container engine.
"""

import ipaddress
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from joserfc import jwt
from joserfc.jwk import KeySet

from services.notification.mail.server import MailServer
from sidecart.chassis import settings
from sidecart.chassis.server.serve import STOP_SECONDS_MAX
from sidecart.edge import asyncapi
from sidecart.edge.settings import read_auth
from sidecart.issuer import keys, tokens
from sidecart.kubernetes import keeper, pods, servers, trimmer
from sidecart.launcher import access_control, proxy, sidecar
from sidecart.launcher.apps import read_apps, resource_folders
from sidecart.launcher.dapr_release import VERSION
from sidecart.launcher.environment import plain_environment
from sidecart.launcher.identities import SENTRY_ID, TOKEN_SECONDS, identity_of, mtls_flags
from sidecart.launcher.permissions import ADMINISTRATOR, TRIMMER
from sidecart.launcher.project import PROJECT_FILE, declared_text, root
from sidecart.launcher.servers import rabbitmq, valkey
from sidecart.launcher.servers.login_templates import KEEPER, POSTGRES, RABBITMQ, REDIS, templates
from sidecart.launcher.servers.rabbitmq_keeper import TOKENS, tokens_of
from sidecart.launcher.servers.registry import BROKERS, STORES
from sidecart.launcher.sidecar import Sidecar
from sidecart.launcher.streams import read_retention
from sidecart.launcher.topics import MONITOR, app_ids
from sidecart.launcher.topology import app_of
from sidecart.monitor.containers import APP_TOKENS

FOLDER = root() / "tye-or-compose"
FILE = "tye-or-compose/docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load((root() / FILE).read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SIDECARS = {app_id: f"{app_id}-dapr" for app_id in app_ids()}
GATEWAYS = [name for name in proxy.CONTAINERS if name != "gateway"]
"""The further gateways of the profile `gateways`."""
OBSERVERS = {"metrics": ("prometheus", "grafana"), "traces": ("jaeger",), "mailpit": ("mailpit",)}
"""Containers of other projects, by the profile that starts them."""
ADDED = [name for names_of_profile in OBSERVERS.values() for name in names_of_profile]
SINGLE = ("proxy", "sentry", "issuer", "mail", "keeper", "remover", TRIMMER, MONITOR)
PAGE_SIDECAR = f"{MONITOR}-dapr"
ALL_SIDECARS = [*SIDECARS.values(), *(f"{name}-dapr" for name in GATEWAYS), PAGE_SIDECAR]
LOGINS = {**SIDECARS, MONITOR: PAGE_SIDECAR}
"""The sidecars that have a login, an identity and a token pair of their own."""
SERVERS = ("redis", "rabbitmq", "postgres")
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
PINNED = re.compile(r"(postgres:\d+|[\w./-]+:v?\d+\.\d+)\.\d+(-[\w.-]+)?(@sha256:[0-9a-f]{64})?")
"""A full version, of two numbers for PostgreSQL; Renovate adds the digest."""
ADDRESSES = {
    "--dapr-listen-addresses",
    "--dapr-internal-grpc-listen-address",
    "--app-channel-address",
    "--sentry-address",
}
"""The flags that may differ: one machine uses loopback addresses, containers use the networks of
the file.
"""
PORTS = {"--dapr-http-port", "--dapr-grpc-port", "--dapr-internal-grpc-port", "--app-port"}


def interpolated(text: str, **env: str) -> str:
    """Replace `${NAME:-default}` in the way that compose does."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: env.get(found[1], found[2]), text)


def flags(words: list[str]) -> set[tuple[str, str]]:
    """Return flags with their values, from both `--name=value` and `--name value`.

    A repeated flag appears once per value.
    """
    found, name = set(), ""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            found.add((name, value))
            name = "" if equals else name
        elif name:
            found.discard((name, ""))
            found.add((name, word))
            name = ""
    return {(name, "" if value == "true" else value) for name, value in found}


def flag(app_id: str, name: str) -> str:
    """Return the value of a flag in a sidecar's command."""
    [value] = [value for each, value in flags(SERVICES[LOGINS[app_id]]["command"]) if each == name]
    return value


def seconds(text: str) -> int:
    """Return a duration of the compose file in seconds."""
    assert text.endswith("s"), text
    return int(text[:-1])


def members(network: str) -> set[str]:
    """Return the names of the services on a network."""
    return {name for name, service in SERVICES.items() if network in service["networks"]}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Run make-secrets in a temporary folder; return its secrets folder."""
    for name in ("make-secrets", "docker-compose.yml"):
        shutil.copy(FOLDER / name, tmp_path)
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    return tmp_path / "secrets"


def variables(*files: Path) -> dict[str, str]:
    """Return the variables that the env files set."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def by_file(folder: Path) -> dict[tuple[str, str], str]:
    """Return the variables of the env files in a folder, and its other files, by file and name."""
    found = {(file.name, name): value for file in folder.glob("*.env") for name, value in variables(file).items()}
    others = (file for file in folder.iterdir() if file.suffix != ".env")
    return found | {(file.name, ""): file.read_text(encoding="ascii") for file in others}


def env_files(name: str) -> list[str]:
    """Return the env files of a service, relative to the compose file."""
    files: str | list[str] = SERVICES[name].get("env_file", [])
    return [files] if isinstance(files, str) else files


def environment(name: str, folder: Path) -> dict[str, str]:
    """Return the environment of a service's process, with the secrets of a folder."""
    paths = [FOLDER / file if file.startswith("../") else folder.parent / file for file in env_files(name)]
    return variables(*paths) | {
        key: interpolated(value) for key, value in SERVICES[name].get("environment", {}).items()
    }


def test_the_file_has_every_process_of_the_shop() -> None:
    """The services are the apps, a sidecar each, sentry, the token issuer, the servers, the mail,
    the keepers, the trimmer and the live page.
    """
    expected = {*app_ids(), *GATEWAYS, *ALL_SIDECARS, *SERVERS, *ADDED, *SINGLE}

    assert [] == [f"{FILE}: services lacks {name}" for name in sorted(expected - set(SERVICES))]
    assert [] == [f"dapr.yaml: no app {name}, which {FILE} has" for name in sorted(set(SERVICES) - expected)]


def test_the_file_declares_its_networks() -> None:
    """An engine refuses a file with an undeclared network."""
    used = {name for service in SERVICES.values() for name in service["networks"]}

    assert [] == [f"{FILE}: networks lacks {name}" for name in sorted(used - set(COMPOSE["networks"]))]
    assert [] == [f"{FILE}: no service uses the network {name}" for name in sorted(set(COMPOSE["networks"]) - used)]


def test_the_file_declares_its_secrets() -> None:
    """An engine refuses a file with an undeclared secret."""
    used = {name for service in SERVICES.values() for name in service.get("secrets", [])}

    assert [] == [f"{FILE}: secrets lacks {name}" for name in sorted(used - set(COMPOSE["secrets"]))]
    assert [] == [f"{FILE}: no service uses the secret {name}" for name in sorted(set(COMPOSE["secrets"]) - used)]


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """Every pulled image names its full version; images built here use pinned base images."""
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    image = SERVICES[name]["image"]

    assert image in built or PINNED.fullmatch(image)


def test_the_one_image_is_small_pinned_and_without_root() -> None:
    """The image uses pinned slim bases and a numeric non-root user, and all services share it."""
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    users = re.findall(r"^USER (\d+)(?::\d+)?$", DOCKERFILE, re.MULTILINE)
    built = [service for service in SERVICES.values() if "build" in service]

    assert bases
    assert all(PINNED.fullmatch(base) and "slim" in base for base in bases)
    assert users
    assert int(users[-1]) > 0
    assert DOCKERFILE.rindex("USER") > DOCKERFILE.rindex("FROM")
    assert 1 == len({service["image"] for service in built})


def test_secrets_stay_out_of_the_image_and_of_git() -> None:
    """.dockerignore is an allow list without the secrets folder, and git ignores the folder."""
    allowed = (root() / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert "*" == allowed[0]
    assert [] == [line for line in allowed if line.startswith("!") and "tye-or-compose" in line]
    assert "tye-or-compose/secrets/" in (root() / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("app_id", app_ids())
def test_sidecars_have_the_tested_version(app_id: str) -> None:
    """The images are the official ones, of the version that the launcher builds or downloads."""
    assert f"daprio/daprd:{VERSION}" == SERVICES[SIDECARS[app_id]]["image"]
    assert f"daprio/sentry:{VERSION}" == SERVICES["sentry"]["image"]


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("app_id", app_ids())
def test_sidecars_get_the_launchers_flags(app_id: str, broker: str, store: str) -> None:
    """Sidecars get the launcher's flags, components and configuration; only addresses and ports
    differ.
    """
    app = read_apps()[app_id]
    folders = resource_folders(app.resources, broker, store)
    configs = (app.config, root() / access_control.FILE)
    words = sidecar.command(Path("./daprd"), app, Sidecar(app_id, 0, 0, 0, 0), folders, configs)
    expected = flags([*words, *mtls_flags(0)])
    words = [interpolated(word, BROKER=broker, STORE=store) for word in SERVICES[SIDECARS[app_id]]["command"]]
    actual = {
        (name, str(root()) + value) if name in ("--resources-path", "--config") else (name, value)
        for name, value in flags(words)
    }
    free = ADDRESSES | PORTS

    assert {one for one in expected if one[0] not in free} | {("--config", f"{root()}/names.yaml")} == {
        one for one in actual if one[0] not in free
    }
    assert {name for name, _ in expected} - ADDRESSES == {name for name, _ in actual} - ADDRESSES


@pytest.mark.parametrize("app_id", app_ids())
def test_an_app_and_its_sidecar_reach_each_other(app_id: str, secrets: Path) -> None:
    """App and sidecar use each other's container name, agreeing ports and the same tokens."""
    app, own = SERVICES[app_id], SIDECARS[app_id]
    read = settings.read(environment(app_id, secrets))

    assert (own, flag(app_id, "--dapr-http-port")) == (read.dapr_host, str(read.dapr_http_port))
    assert flag(app_id, "--dapr-grpc-port") == str(read.dapr_grpc_port)
    assert (app_id, flag(app_id, "--app-port")) == (flag(app_id, "--app-channel-address"), str(read.app_port))
    assert "0.0.0.0" == read.app_host == flag(app_id, "--dapr-listen-addresses")
    assert ["python", "-m", *read_apps()[app_id].command[2:]] == app["command"]
    assert (read.app_api_token, read.dapr_api_token) == tuple(
        environment(own, secrets)[name] for name in ("APP_API_TOKEN", "DAPR_API_TOKEN")
    )


@pytest.mark.parametrize(("api", "port"), [("", 50001), ("http", None), ("grpc", 50001)])
@pytest.mark.parametrize("app_id", [*app_ids(), *GATEWAYS])
def test_one_variable_selects_the_api_of_all_sidecars(app_id: str, api: str, port: int | None, secrets: Path) -> None:
    """An empty one is the default, which only the apps know."""
    text = SERVICES[app_id]["environment"]["SIDECAR_API"]
    read = settings.read(environment(app_id, secrets) | {"SIDECAR_API": interpolated(text, SIDECAR_API=api)})

    assert port == read.dapr_grpc_port


@pytest.mark.parametrize("app_id", app_ids())
def test_an_app_has_the_environment_of_dapr_yaml(app_id: str) -> None:
    """The environment of an app in the compose file includes the one of dapr.yaml."""
    own = read_apps()[app_id].env

    assert dict(own) == {name: SERVICES[app_id]["environment"].get(name) for name in own}


def test_the_gateway_and_its_sidecar_have_one_pod_name(secrets: Path) -> None:
    """The name of the sidecar's consumer group and of the app's probe comes from POD_NAME."""
    assert environment("gateway", secrets)["POD_NAME"] == environment("gateway-dapr", secrets)["POD_NAME"]


@pytest.mark.parametrize("name", GATEWAYS)
def test_a_further_gateway_differs_in_its_name_only(name: str) -> None:
    """Its consumer group, its networks and its profile; on its own network it has the names of the
    first one.
    """
    for one, first, alias in ((name, "gateway", "gateway"), (f"{name}-dapr", "gateway-dapr", "gateway-dapr")):
        service, expected = dict(SERVICES[one]), dict(SERVICES[first])
        networks = dict(service.pop("networks"))
        for key in ("networks", "build", "ports"):
            expected.pop(key, None)

        assert ["gateways"] == service.pop("profiles")
        assert name == service["environment"]["POD_NAME"]
        assert expected == {**service, "environment": {**service["environment"], "POD_NAME": "gateway-0"}}
        assert {"aliases": [alias]} == networks.pop(name)
        assert not any(networks.values())
    assert {name, f"{name}-dapr"} == {each for each in members(name) if each not in ADDED}


def test_the_proxy_has_the_configuration_of_the_launcher() -> None:
    """The file is generated; it names the gateways of the file and their port."""
    text = (root() / proxy.CONTAINERS_FILE).read_text(encoding="utf-8")
    found = re.findall(r"^    server (\S+) (\S+):(\d+)$", text, re.MULTILINE)
    pod_names = [(SERVICES[name]["environment"]["POD_NAME"], name, "8000") for name in proxy.CONTAINERS]

    assert proxy.container_configuration() == text, "run `.venv/bin/python -m sidecart.launcher.proxy`"
    assert found == 2 * pod_names
    assert str(proxy.DRAIN_SECONDS) == SERVICES["gateway"]["environment"]["DRAIN_SECONDS"]
    assert seconds(SERVICES["proxy"]["stop_grace_period"]) >= proxy.STOP_SECONDS


def test_the_gateways_trust_their_proxy(secrets: Path) -> None:
    """Its address is fixed, in the subnet of its network; otherwise all callers share a limit. No
    gateway gets it, because their addresses are of another part.
    """
    address = ipaddress.ip_address(interpolated(SERVICES["proxy"]["networks"]["entrance"]["ipv4_address"]))
    [pool] = COMPOSE["networks"]["entrance"]["ipam"]["config"]
    subnet, others = (ipaddress.ip_network(interpolated(pool[name])) for name in ("subnet", "ip_range"))

    assert address in subnet
    assert address not in others
    assert {*others} < {*subnet}
    assert len(proxy.CONTAINERS) < others.num_addresses - 1
    assert str(address) in settings.read(environment("gateway", secrets)).trusted_proxies


def test_the_trimmer_has_the_settings_that_it_reads(secrets: Path) -> None:
    """Its address and its own login; the health check reads the file that it touches, as in a
    cluster.
    """
    env, command = environment(TRIMMER, secrets), SERVICES[TRIMMER]["command"]
    alive = command[command.index("--alive") + 1]

    assert valkey.address_in(env) == f"trimmer:{env['REDIS_PASSWORD']}@redis:6379"
    assert 3_600 == read_retention(env)
    assert ["python", "-c", keeper.alive_script(Path(alive), trimmer.LATE_SECONDS)] == SERVICES[TRIMMER]["healthcheck"][
        "test"
    ][1:]
    assert str(trimmer.ALIVE) == alive


def test_the_keeper_knows_the_number_of_gateways() -> None:
    """GATEWAYS=3 belongs to the profile; without it there is one gateway."""
    command = SERVICES["keeper"]["command"]

    assert "1" == interpolated(command[command.index("--gateways") + 1])


@pytest.mark.parametrize(("profile", "names_of_profile"), OBSERVERS.items())
def test_an_observer_starts_with_its_profile_only(profile: str, names_of_profile: tuple[str, ...]) -> None:
    """The images of other projects are pulled on request."""
    assert [[profile]] * len(names_of_profile) == [SERVICES[name].get("profiles") for name in names_of_profile]


def test_prometheus_finds_every_app() -> None:
    """Each target is a name on a network that Prometheus shares, with the launcher's labels."""
    [job] = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    targets = {each["labels"]["replica"]: each for each in job["static_configs"]}
    networks = set(SERVICES["prometheus"]["networks"])
    names_of_first = SERVICES["gateway"]["networks"]["gateway"]["aliases"]

    missing = {*app_ids(), *GATEWAYS, TRIMMER} - set(targets)
    assert [] == [f"tye-or-compose/prometheus.yml: no target of {name}" for name in sorted(missing)]
    for name, each in targets.items():
        host, _, port = each["targets"][0].partition(":")
        assert host in (names_of_first if name == "gateway" else [name])
        assert name in networks & set(SERVICES[name]["networks"])
        assert app_of(name) == each["labels"]["app"]
        assert f"METRICS_PORT={port} with --profile metrics" in (root() / FILE).read_text(encoding="utf-8")


def test_the_observers_reach_every_app() -> None:
    """They join the network of each app, and apps do not reach each other through them."""
    wanted = {*app_ids(), *GATEWAYS}

    assert [] == [f"{FILE}: x-app-networks lacks {name}" for name in sorted(wanted - set(COMPOSE["x-app-networks"]))]
    assert wanted | {"metrics", TRIMMER} == set(SERVICES["prometheus"]["networks"])
    assert {TRIMMER, "prometheus"} == members(TRIMMER)
    assert wanted | {"front"} == set(SERVICES["jaeger"]["networks"])


def test_apps_have_no_metrics_and_no_traces_without_a_profile() -> None:
    """An empty variable is a missing one; the profiles need the variables that the file names."""
    text = (root() / FILE).read_text(encoding="utf-8")
    for name in (*app_ids(), *GATEWAYS):
        own = {key: interpolated(value) for key, value in SERVICES[name]["environment"].items()}
        assert ("", "") == (own["METRICS_PORT"], own["OTEL_EXPORTER_OTLP_ENDPOINT"])
    assert "OTEL_EXPORTER_OTLP_ENDPOINT=http://jaeger:4318 with --profile traces" in text
    assert "SMTP_URL=smtp://mailpit:1025 with --profile mailpit" in text


def test_grafana_shows_the_dashboard_of_the_project_and_has_no_login() -> None:
    """Visitors are viewers; the default password of the administrator opens nothing."""
    service = SERVICES["grafana"]
    mounts = dict(each.rsplit(":", 2)[:2] for each in service["volumes"])
    [provider] = yaml.safe_load((FOLDER / "grafana/dashboards.yaml").read_text(encoding="utf-8"))["providers"]
    [source] = yaml.safe_load((FOLDER / "grafana/datasources.yaml").read_text(encoding="utf-8"))["datasources"]

    assert mounts["../docs/grafana/sidecart.json"].rpartition("/")[0] == provider["options"]["path"]
    assert "http://prometheus:9090" == source["url"]
    assert {"prometheus", "grafana"} == members("metrics")
    assert {"Viewer", "true", "false"} >= set(service["environment"].values())
    assert ("false", "true") == tuple(
        service["environment"][f"GF_AUTH_{key}"] for key in ("BASIC_ENABLED", "DISABLE_LOGIN_FORM")
    )


def test_mail_goes_to_the_catcher() -> None:
    """The Notification Service sends to the catcher's SMTP port, without TLS."""
    environment = SERVICES["notification"]["environment"]
    server = MailServer.from_url(interpolated(environment["SMTP_URL"]), environment["MAIL_TLS"])
    command = SERVICES["mail"]["command"]

    assert ("mail", command[command.index("--smtp-port") + 1]) == (server.host, str(server.port))
    assert "off" == server.policy  # the catcher has no certificate, and its network is private
    assert "0.0.0.0" == command[command.index("--host") + 1]
    assert {"notification", "mail", "mailpit"} == members("mail")


@pytest.mark.parametrize("app_id", app_ids())
def test_only_its_own_sidecar_reaches_an_app(app_id: str) -> None:
    """An app shares its private network with its sidecar only, unless a profile adds observers or
    the live page;
    servers and sidecars use a network without apps.
    """
    page = {MONITOR} - ({MONITOR} if app_id == "gateway" else set())  # it reaches gateways elsewhere
    assert page <= members(app_id), f"{FILE}: the networks of {MONITOR} lack {app_id}"
    assert {app_id, SIDECARS[app_id], *page} == {name for name in members(app_id) if name not in ADDED}
    assert {"prometheus", "jaeger"} == members(app_id) & set(ADDED)
    assert {app_id, "mesh"} == set(SERVICES[SIDECARS[app_id]]["networks"])
    assert "mesh" not in SERVICES[app_id]["networks"]


def test_the_gateway_accepts_the_tokens_of_the_local_issuer(secrets: Path) -> None:
    """It reads the keys at the issuer, which only the gateways and the live page reach. The page
    has the issuer's secret too, because it acts for every caller.
    """
    given = SERVICES["gateway"]["environment"]
    own = {name: re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", value) for name, value in given.items()}
    auth, command = read_auth(own), SERVICES["issuer"]["command"]
    [secret] = SERVICES["issuer"]["secrets"]
    signing = keys.load(secrets.parent / COMPOSE["secrets"][secret]["file"])
    claims = jwt.decode(tokens.token(signing, "ann@example.com"), signing.newest).claims

    assert auth is not None
    assert f"http://issuer:{command[command.index('--port') + 1]}{keys.JWKS_PATH}" == auth.jwks_url
    assert f"/run/secrets/{secret}" == command[command.index("--keys") + 1]
    assert (claims["iss"], claims["aud"]) == (auth.issuer, auth.audience)
    assert {*proxy.CONTAINERS, "issuer", MONITOR} == members("issuer")
    assert ["issuer", MONITOR] == [name for name, each in SERVICES.items() if secret in each.get("secrets", [])]


def test_few_containers_publish_ports() -> None:
    """They publish their ports on loopback, and every network except theirs is internal."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    open_networks = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}

    assert {"gateway", "proxy", "mail", "grafana", "jaeger", "mailpit", MONITOR} == set(published)
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert {"front"} == open_networks
    assert set(published) == members("front")
    assert {*proxy.CONTAINERS, "proxy"} == members("entrance")


@pytest.mark.parametrize("name", SERVICES)
def test_services_start_in_any_order(name: str) -> None:
    """Services do not wait for each other, and the engine restarts every one that ends."""
    assert "unless-stopped" == SERVICES[name]["restart"]
    assert "depends_on" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_health_checks_need_no_shell(name: str) -> None:
    """Every service has a shell-free health check, except sentry, the sidecars and the proxy: no
    program of their images sends a request.
    """
    if name in (*ALL_SIDECARS, "sentry", "proxy"):
        assert "healthcheck" not in SERVICES[name]
    elif name in ADDED:
        assert "healthcheck" not in SERVICES[name]  # their images define one, or have no program for it
    elif name == "keeper":  # the keeper serves nothing
        assert {"disable": True} == SERVICES[name]["healthcheck"]
    else:
        assert "CMD" == SERVICES[name]["healthcheck"]["test"][0]


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_has_minimal_rights(name: str) -> None:
    """The root file system is read-only, all capabilities are dropped, and no new privileges are
    allowed.
    """
    assert [] == [f"{FILE}: services.{name}.{each}" for each in too_many_rights(SERVICES[name])]


def too_many_rights(service: dict[str, Any]) -> list[str]:
    """Return the settings of a service that leave it more rights than it needs."""
    wanted = {"read_only": True, "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"]}
    unwanted = ("cap_add", "privileged", "pid", "ipc", "network_mode", "userns_mode", "devices")
    wrong = [f"{key} is {service.get(key)}, not {value}" for key, value in wanted.items() if service.get(key) != value]
    return [*wrong, *(f"{key} is set" for key in unwanted if key in service)]


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"read_only": False}, "read_only is False, not True"),
        ({"cap_drop": ["NET_RAW"]}, "cap_drop is ['NET_RAW'], not ['ALL']"),
        ({"security_opt": None}, "security_opt is None, not ['no-new-privileges:true']"),
        ({"cap_add": ["SYS_ADMIN"]}, "cap_add is set"),
        ({"privileged": True}, "privileged is set"),
    ],
)
def test_a_container_with_more_rights_is_found(change: dict[str, Any], line: str) -> None:
    """The line names the setting and its value."""
    assert [line] == too_many_rights({**SERVICES["order"], **change})


@pytest.mark.parametrize("name", SERVERS)
def test_servers_run_without_root(name: str) -> None:
    """The login is the one of the official images, as in the manifests for Kubernetes."""
    assert f"{servers.UID}:{servers.UID}" == SERVICES[name]["user"]


MEBI = {"Mi": 1, "Gi": 1024, "m": 1, "g": 1024}


def size(text: str) -> int:
    """Return an amount of memory in MiB, of the compose file (256m) or of Kubernetes (256Mi)."""
    found = re.fullmatch(r"(\d+)(Mi|Gi|m|g)", interpolated(text))
    assert found, f"{text} is no amount of memory"
    return int(found[1]) * MEBI[found[2]]


def manifest_limits() -> dict[str, dict[str, Any]]:
    """Return the limits in the manifests for Kubernetes: of apps, servers, and small programs."""
    found = {}
    for file in (root() / "deploy/kubernetes").rglob("*.yaml"):
        for one in yaml.safe_load_all(file.read_text(encoding="utf-8")):
            if one and one["kind"] in ("Deployment", "StatefulSet"):
                [container] = one["spec"]["template"]["spec"]["containers"]
                found[one["metadata"]["name"]] = container["resources"]["limits"]
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_every_container_is_limited(name: str) -> None:
    """Without a limit one container can take the memory of the machine."""
    assert size(SERVICES[name]["mem_limit"]) > 0
    assert 0 < float(SERVICES[name]["cpus"]) <= 2


@pytest.mark.parametrize("name", [name for name in SERVICES if name not in ADDED])
def test_every_container_has_the_limits_of_the_manifests(name: str) -> None:
    """Memory and CPU; a sidecar, the proxy and the live page have those of an app, sentry and the
    keepers those of the issuer.
    """
    limits = manifest_limits()
    of_an_app = ("proxy", MONITOR, *GATEWAYS, *app_ids())
    others = {"sentry": "issuer", "keeper": "issuer", "remover": "issuer"} | dict.fromkeys(of_an_app, "gateway")
    service = name.removesuffix("-dapr")
    expected = limits[others.get(service, service)]
    cpus = str(expected["cpu"])

    assert size(expected["memory"]) == size(SERVICES[name]["mem_limit"]), f"{FILE}: services.{name}.mem_limit"
    wanted = float(cpus[:-1]) / 1000 if cpus.endswith("m") else float(cpus)
    assert wanted == float(SERVICES[name]["cpus"]), f"{FILE}: services.{name}.cpus"


def test_sidecars_have_the_limits_of_the_injected_ones() -> None:
    """The limits of a sidecar in a cluster are annotations of its pod."""
    annotations = pods.sidecar_annotations(read_apps()["order"])

    assert size(annotations["dapr.io/sidecar-memory-limit"]) == size(SERVICES["order-dapr"]["mem_limit"])
    assert float(annotations["dapr.io/sidecar-cpu-limit"]) == float(SERVICES["order-dapr"]["cpus"])


def test_redis_has_more_memory_than_its_data() -> None:
    """Redis copies changed pages while it rewrites its file; without room the kernel kills it."""
    command = SERVICES["redis"]["command"]
    data = interpolated(command[command.index("--maxmemory") + 1]).removesuffix("b")

    assert 2 * size(data) <= size(SERVICES["redis"]["mem_limit"])


@pytest.mark.parametrize("app_id", app_ids())
def test_the_grace_period_covers_work_in_progress(app_id: str) -> None:
    """The stop grace period exceeds the time that the process may take to finish its work."""
    assert seconds(SERVICES[app_id]["stop_grace_period"]) > STOP_SECONDS_MAX
    assert seconds(SERVICES[SIDECARS[app_id]]["stop_grace_period"]) > int(
        flag(app_id, "--dapr-graceful-shutdown-seconds")
    )


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("app_id", app_ids())
def test_the_environment_sets_every_variable_of_the_components(
    app_id: str, broker: str, store: str, secrets: Path
) -> None:
    """Every `envRef` of the sidecar's components is set, and names a server that runs with this
    broker and this store.
    """
    env = environment(SIDECARS[app_id], secrets)
    words = [
        interpolated(value, BROKER=broker, STORE=store)
        for name, value in flags(SERVICES[SIDECARS[app_id]]["command"])
        if value
    ]
    folders = [root() / word.lstrip("/") for word in words if word.startswith("/components")]
    components = [yaml.safe_load(file.read_text("utf-8")) for folder in folders for file in folder.glob("*.yaml")]
    wanted_state = {
        each["envRef"] for one in components for each in one["spec"].get("metadata", []) if "envRef" in each
    }
    running = {name for name, service in SERVICES.items() if set(service.get("profiles", [broker])) <= {broker, store}}
    scopes = {name for name in wanted_state if name.startswith("TOPIC_")}
    login = {name for name in wanted_state if name in (valkey.USERNAME, valkey.PASSWORD)}
    hosts = {re.sub(r"^\w+://|.*@", "", env[name]).partition(":")[0] for name in wanted_state - scopes - login}

    assert 3 == len(folders)
    assert "replies" in {one["metadata"]["name"] for one in components}
    assert wanted_state - scopes
    assert all(env[name] for name in (*scopes, *login))
    assert app_id == env[valkey.USERNAME]
    assert f"//{app_id}:{env[valkey.PASSWORD]}@" in env["AMQP_URL"]
    assert f"postgres://{app_id}:{env[valkey.PASSWORD]}@postgres:5432/{servers.DATABASE}" in env["POSTGRES_URL"]
    assert hosts <= running


def test_secrets_are_new_each_time_and_readable_by_their_owner_only(secrets: Path, tmp_path: Path) -> None:
    """make-secrets keeps existing secrets, creates new random ones, and restricts access to the
    owner.
    """
    before = by_file(secrets)
    again = subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True, text=True)
    unchanged = by_file(secrets)
    shutil.rmtree(secrets)
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    after = by_file(secrets)
    changed = {place for place in before if before[place] != after[place]}
    names = {place for place in before if place[1] == valkey.USERNAME}

    shown = {file.name for file in secrets.iterdir() if stat.S_IMODE(file.stat().st_mode) == 0o444}
    assert {Path(each["file"]).name for each in COMPOSE["secrets"].values()} == shown  # containers read them
    assert {0o600, 0o444} == {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()}
    assert 0o700 == stat.S_IMODE(secrets.stat().st_mode)
    assert before == unchanged
    assert "exist already" in again.stdout
    assert before.keys() - names == changed


def test_each_app_has_its_own_tokens(secrets: Path) -> None:
    """The token of one app opens no other app; the keeper has the tokens of the apps' sidecars."""
    made = by_file(secrets)
    tokens = [token for (_, name), token in made.items() if name.endswith("_API_TOKEN")]
    sidecars = {app_id: made[f"{app_id}.env", "DAPR_API_TOKEN"] for app_id in app_ids()}

    assert 2 * len(LOGINS) == len(set(tokens)) == len(tokens)
    assert sidecars == tokens_of(made["keeper.env", TOKENS])
    for name in (*app_ids(), *LOGINS.values()):
        own = {file for file in env_files(name) if file.endswith(".env") and file.startswith("secrets/")}
        app_id = name.removesuffix("-dapr")
        servers = {f"secrets/{app_id}-servers.env"} if name != app_id else set()
        assert own - {"secrets/anchors.env"} == {f"secrets/{app_id}.env"} | servers


def test_each_app_has_its_own_login_at_the_servers(secrets: Path) -> None:
    """The servers know all passwords, each sidecar its own, and an app none."""
    made = by_file(secrets)
    known = dict(pair.split("=") for pair in made["servers.env", "PASSWORDS"].split(","))
    logins = [*LOGINS, ADMINISTRATOR, KEEPER, TRIMMER]

    assert set(logins) == set(known)
    assert len(set(known.values())) == len(logins)
    for login in logins:
        own = variables(secrets / f"{login}-servers.env")
        assert (login, known[login]) == (own[valkey.USERNAME], own[valkey.PASSWORD])
        assert f"amqp://{login}:{known[login]}@rabbitmq:5672" == own["AMQP_URL"]
    for app_id in app_ids():
        assert not set(known.values()) & set(environment(app_id, secrets).values())
    assert known[KEEPER] in environment("keeper", secrets)["AMQP_URL"]
    assert "secrets/servers.env" in env_files("redis") == env_files("rabbitmq") == env_files("postgres")
    assert known[ADMINISTRATOR] == made["servers.env", "POSTGRES_PASSWORD"]


def test_the_servers_fill_the_passwords_in(secrets: Path, tmp_path: Path) -> None:
    """The program of the containers runs with the templates, and no placeholder stays."""
    (tmp_path / "docker-entrypoint.sh").write_text('#!/bin/sh\necho "$@" "${PASSWORDS-unset}"\n')
    (tmp_path / "docker-entrypoint.sh").chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", **variables(secrets / "servers.env")}
    for template in templates():
        made = tmp_path / Path(template).name
        words = ["sh", *map(str, (FOLDER / "with-logins", root() / template, made)), "server", "--flag"]
        done = subprocess.run(words, env=env, check=True, capture_output=True, text=True)
        text = made.read_text(encoding="utf-8")
        assert "server --flag unset" == done.stdout.strip()
        assert not re.search(r"@[\w-]+@", text)
        assert 0o600 == stat.S_IMODE(made.stat().st_mode)
        absent = {REDIS: set(), RABBITMQ: {TRIMMER}, POSTGRES: {KEEPER, TRIMMER, MONITOR}}[template]
        known = dict(pair.split("=") for pair in env["PASSWORDS"].split(","))
        assert absent == {login for login in known if known[login] not in text}


def test_no_server_accepts_a_caller_without_a_login() -> None:
    """Both start with the file of the logins, and a full Redis deletes nothing."""
    command = SERVICES["redis"]["command"]

    assert SERVICES["redis"]["entrypoint"][-1] == command[command.index("--aclfile") + 1]
    assert "noeviction" == command[command.index("--maxmemory-policy") + 1]
    assert "--maxmemory" in command
    made = SERVICES["rabbitmq"]["entrypoint"][-1]
    assert f"load_definitions = {made}\n" in (FOLDER / "rabbitmq.conf").read_text(encoding="utf-8")
    assert "RABBITMQ_DEFAULT_USER" not in SERVICES["rabbitmq"].get("environment", {})


def test_an_update_adds_the_address_of_postgresql(secrets: Path, tmp_path: Path) -> None:
    """The files of an earlier version have no POSTGRES_URL; the passwords stay."""
    before = by_file(secrets)
    for file in secrets.glob("*servers.env"):
        lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
        file.write_text("".join(line for line in lines if not line.startswith("POSTGRES")), encoding="utf-8")
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)

    assert before == by_file(secrets)


def test_postgresql_has_the_settings_of_the_manifests() -> None:
    """Its options, its variables and its check are those of the StatefulSet."""
    service, trial = SERVICES["postgres"], servers.POSTGRES

    assert list(trial.args) == service["command"]
    assert trial.env == service["environment"]
    assert ["CMD", *trial.check] == service["healthcheck"]["test"]
    assert {trial.data, *(path.replace("/var/run", "/run") for _, path in trial.scratch)} <= {
        *service["tmpfs"],
        *(each.split(":")[1] for each in service["volumes"]),
    }


def test_the_logins_of_postgresql_are_renewed_at_each_start(secrets: Path, tmp_path: Path) -> None:
    """The first start leaves the file to the image; later starts run it before the server."""
    file = SERVICES["postgres"]["entrypoint"][3]
    script = (FOLDER / "update-roles").read_text(encoding="utf-8").replace(file, f"{tmp_path}/logins.sql")
    for name in ("postgres", "docker-entrypoint.sh"):
        (tmp_path / name).write_text(
            f'#!/bin/sh\necho {name} "$@" >>{tmp_path}/log\n[ "$1" != --single ] || cat >>{tmp_path}/log\n'
        )
        (tmp_path / name).chmod(0o755)
    (tmp_path / "logins.sql").write_text("ALTER ROLE\n")
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PGDATA": str(tmp_path), "POSTGRES_DB": "shop"}
    for _ in range(2):
        subprocess.run(["sh", "-c", script, "update-roles", "postgres", "-c"], env=env, check=True)
        (tmp_path / "PG_VERSION").write_text("16\n")

    assert f"\\i {file}\n" in (FOLDER / "run-logins.sql").read_text(encoding="utf-8")
    assert "./run-logins.sql:/docker-entrypoint-initdb.d/logins.sql:ro" in SERVICES["postgres"]["volumes"]
    start = "docker-entrypoint.sh postgres -c\n"
    assert f"{start}postgres --single -D {tmp_path} shop\nALTER ROLE\n{start}" == (tmp_path / "log").read_text()


def test_a_new_app_gets_its_tokens_and_the_others_keep_theirs(secrets: Path, tmp_path: Path) -> None:
    """The passwords at the servers stay, too."""
    before = by_file(secrets)
    file = tmp_path / "docker-compose.yml"
    file.write_text(file.read_text("utf-8") + "\n      - --app-id=bonus\n", encoding="utf-8")
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    after = by_file(secrets)

    new = {
        place for place in after.keys() - before.keys() if place[0] in ("bonus.env", "bonus-servers.env", "bonus.jwt")
    }
    assert new == after.keys() - before.keys()
    assert 7 == len(new)
    changed = {place for place in before if before[place] != after[place]}
    page = {("live-page.env", APP_TOKENS), ("live-page.env", TOKENS)}
    assert {("keeper.env", TOKENS), ("servers.env", "PASSWORDS"), *page} == changed
    assert after["servers.env", "PASSWORDS"].endswith(f",bonus={after['bonus-servers.env', valkey.PASSWORD]}")
    assert after["bonus.env", "DAPR_API_TOKEN"] == tokens_of(after["keeper.env", TOKENS])["bonus"]


def test_each_sidecar_has_the_identity_of_its_app_only(secrets: Path) -> None:
    """Its token is signed by the key that sentry knows, and names its app; it lives for years."""
    keys = KeySet.import_key_set(json.loads((secrets / "jwks.json").read_text("ascii")))
    for app_id, name in LOGINS.items():
        [secret] = SERVICES[name]["secrets"]
        token = (secrets.parent / COMPOSE["secrets"][secret]["file"]).read_text("ascii")
        claims = jwt.decode(token, keys, algorithms=["RS256"]).claims

        assert f"/run/secrets/{secret}" == environment(name, secrets)["DAPR_SENTRY_TOKEN_FILE"]
        assert (identity_of(app_id), SENTRY_ID) == (claims["sub"], claims["aud"])
        assert claims["exp"] - claims["iat"] == TOKEN_SECONDS


def test_sentry_signs_only_for_these_tokens(secrets: Path) -> None:
    """Sentry reads the authority that the sidecars trust, and has no key that signs tokens."""
    [validator] = yaml.safe_load((FOLDER / "sentry.yaml").read_text("utf-8"))["spec"]["mtls"]["tokenValidators"]
    anchors = environment(SIDECARS["gateway"], secrets)["DAPR_TRUST_ANCHORS"].strip('"').replace("\\n", "\n")
    given = {name: secrets.parent / COMPOSE["secrets"][name]["file"] for name in SERVICES["sentry"]["secrets"]}

    assert ("jwks", "/run/secrets/jwks.json") == (validator["name"], validator["options"]["source"])
    assert {"ca.crt", "issuer.crt", "issuer.key", "jwks.json"} == set(given)
    assert given["ca.crt"].read_text("ascii") == anchors
    assert "identities.key" not in {file.name for file in given.values()}
    assert not {"d", "p", "q", "k"} & set(json.loads(given["jwks.json"].read_text("ascii"))["keys"][0])


def test_every_mounted_file_exists() -> None:
    """An engine silently creates a folder in place of a missing file, so every mount source must
    exist.
    """
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", []) if mount.startswith(".")]

    assert mounts
    assert [] == [mount for mount in mounts if not (FOLDER / mount.partition(":")[0]).exists()]
    assert all(mount.endswith(":ro") for mount in mounts)


def test_the_servers_data_outlives_their_containers() -> None:
    """Each server has a volume, and RabbitMQ has the launcher's consumer timeout."""
    volumes = {name: [each.partition(":")[0] for each in SERVICES[name]["volumes"]] for name in SERVERS}
    configuration = (FOLDER / "rabbitmq.conf").read_text(encoding="utf-8")

    assert all(set(each) & set(COMPOSE["volumes"]) for each in volumes.values())
    assert f"consumer_timeout = {rabbitmq.CONSUMER_TIMEOUT_MS}\n" in configuration
    assert {"--appendonly", "yes"} <= set(SERVICES["redis"]["command"])
    assert "hostname" in SERVICES["rabbitmq"]


def test_sidecars_resolve_each_other_by_container_name() -> None:
    """The resolver maps each app-id to a service name of the file."""
    document = yaml.safe_load((FOLDER / "names.yaml").read_text(encoding="utf-8"))
    template = document["spec"]["nameResolution"]["configuration"]["template"]
    found = {app_id: template.replace("{{.ID}}", app_id).partition(":")[0] for app_id in LOGINS}

    assert LOGINS == found
    assert 1 == len({flag(app_id, "--dapr-internal-grpc-port") for app_id in app_ids()})


def test_the_image_has_the_files_that_the_apps_read() -> None:
    """The image includes contracts/ and the broker descriptions, from which the gateway builds its
    documents, and the words of the live page.
    """
    allowed = (root() / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = re.findall(r"^COPY (\w+) (\w+)$", DOCKERFILE, re.MULTILINE)
    read = {folder.relative_to(root()).parts[0] for folder in (root() / "contracts", root() / asyncapi.SERVERS)}

    assert read <= {target for source, target in copied if source == target}
    assert read <= {line.removeprefix("!") for line in allowed if line.startswith("!")}
    for file in (PROJECT_FILE, declared_text("live_page")):
        assert f"!{file}" in allowed
        assert re.search(rf"^COPY (.* )?{re.escape(file)} ", DOCKERFILE, re.MULTILINE)


def pins(lock: str) -> dict[str, str]:
    """Return the packages of a lock file with their versions."""
    found = re.findall(r"^([\w.-]+)==(\S+)", (root() / lock).read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def names(requirements: list[str]) -> set[str]:
    """Return the package names of a list of requirements."""
    return {re.split(r"[\[<>=~!; ]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def test_the_image_has_the_tested_packages_and_no_tools() -> None:
    """The image's lock is a subset of the full lock, covers the apps' requirements, and has no test
    package.
    """
    document = tomllib.loads((root() / "pyproject.toml").read_text(encoding="utf-8"))
    project, image = document["project"], names(document["dependency-groups"]["image"])
    small, large = pins("requirements-apps.lock"), pins("requirements.lock")
    extras = project["optional-dependencies"]
    declared = names(project["dependencies"]) | names(extras["shop"])

    assert small
    assert small == {name: large.get(name) for name in small}
    assert names(extras["shop"]) <= image <= declared
    assert image <= set(small)
    assert set() == set(small) & (names(extras["dev"]) | declared - image)


IMPORTED = """
import importlib, importlib.metadata, sys
packages = sys.argv[1].split(",")
absent = {
    module
    for module, names in importlib.metadata.packages_distributions().items()
    if not {name.lower().replace("_", "-").replace(".", "-") for name in names} & set(packages)
}
class Image:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"the image has no package of {name}")
sys.meta_path.insert(0, Image())
for name in sys.argv[2:]:
    importlib.import_module(name)
assert "psutil" in absent and "fastapi" not in absent
"""


def test_the_programs_of_the_image_need_only_its_packages() -> None:
    """Each program can be imported without the packages that only the launcher needs."""
    commands = [service.get("command", []) for service in SERVICES.values()]
    programs = sorted(
        {keeper.MODULE, keeper.READER_MODULE, *(words[2] for words in commands if words[:2] == ["python", "-m"])}
    )
    words = [sys.executable, "-c", IMPORTED, ",".join(pins("requirements-apps.lock")), *programs]
    done = subprocess.run(words, cwd=root(), env=plain_environment(), capture_output=True, text=True, check=False)

    assert {"gateway.app", "sidecart.launcher.servers.rabbitmq_keeper"} <= set(programs)
    assert (0, "") == (done.returncode, done.stderr)


def test_container_logs_are_bounded() -> None:
    """Each service limits its log, and docs/reference/limits.md states the total."""
    logging_of = {name: service.get("logging") for name, service in SERVICES.items()}
    assert [] == [name for name, logging in logging_of.items() if logging is None]

    options = {name: logging["options"] for name, logging in logging_of.items() if logging is not None}
    assert {"json-file"} == {logging["driver"] for logging in logging_of.values() if logging is not None}
    assert [("10m", "2")] * len(SERVICES) == [(each["max-size"], each["max-file"]) for each in options.values()]
    assert "20 MiB for each container" in (root() / "docs/reference/limits.md").read_text(encoding="utf-8")
