"""The compose file is the shop of dapr.yaml in containers: held to it without any engine."""

import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from chassis import settings
from chassis.serve import STOP_SECONDS_MAX
from cli import daprd, sidecar
from cli.project import ROOT, read_apps, resource_folders
from cli.servers import rabbitmq
from cli.servers.registry import BROKERS
from cli.sidecar import Sidecar
from cli.topics import APPS
from gateway import asyncapi, contracts
from services.notification.mail_server import MailServer

FOLDER = ROOT / "tye-or-compose"
COMPOSE: dict[str, Any] = yaml.safe_load((FOLDER / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SIDECARS = {app_id: f"{app_id}-dapr" for app_id in APPS}
SERVERS = ("redis", "rabbitmq")
DOCKERFILE = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
PINNED = re.compile(r"[\w./-]+:\d+\.\d+\.\d+(-[\w.-]+)?")
ADDRESSES = {"--dapr-listen-addresses", "--dapr-internal-grpc-listen-address", "--app-channel-address"}
"""The flags that differ: on one machine everything is on loopback, in containers on the networks of the file."""
PORTS = {"--dapr-http-port", "--dapr-grpc-port", "--dapr-internal-grpc-port", "--app-port"}


def chosen(text: str, **env: str) -> str:
    """What compose makes of `${NAME:-default}`."""
    return re.sub(r"\$\{(\w+):-([^}]*)\}", lambda found: env.get(found[1], found[2]), text)


def flags(words: list[str]) -> set[tuple[str, str]]:
    """Flags with their values, whether written `--name=value` or `--name value`; repeated ones are there repeatedly."""
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
    """The value that a sidecar's command gives to a flag."""
    [value] = [value for each, value in flags(SERVICES[SIDECARS[app_id]]["command"]) if each == name]
    return value


def seconds(text: str) -> int:
    """A duration of the compose file."""
    assert text.endswith("s"), text
    return int(text[:-1])


def members(network: str) -> set[str]:
    """The services on a network."""
    return {name for name, service in SERVICES.items() if network in service["networks"]}


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """A folder in which make-secrets was run."""
    shutil.copy(FOLDER / "make-secrets", tmp_path)
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    return tmp_path / "secrets"


def variables(*files: Path) -> dict[str, str]:
    """What env files set."""
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def environment(name: str, folder: Path) -> dict[str, str]:
    """What a service's process finds in its environment, with the secrets of a folder."""
    files = SERVICES[name].get("env_file", [])
    paths = [folder.parent / file for file in ([files] if isinstance(files, str) else files)]
    return variables(*paths) | dict(SERVICES[name].get("environment", {}))


def test_the_shop_is_whole() -> None:
    """Every app, a sidecar for each, the servers, the mail catcher, the keeper, and nothing else."""
    assert {*APPS, *SIDECARS.values(), *SERVERS, "mail", "keeper"} == set(SERVICES)


@pytest.mark.parametrize("name", SERVICES)
def test_images_are_pinned(name: str) -> None:
    """What is pulled says its version to the last digit; what is built here starts from such a one."""
    built = {service["image"] for service in SERVICES.values() if "build" in service}
    image = SERVICES[name]["image"]

    assert image in built or PINNED.fullmatch(image)


def test_the_one_image_is_small_pinned_and_without_root() -> None:
    """Slim bases with their versions, a user by number, and the same image wherever it is built."""
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
    """The context lets in only what is named; the secrets' folder is ignored."""
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert "*" == allowed[0]
    assert [] == [line for line in allowed if line.startswith("!") and "tye-or-compose" in line]
    assert "tye-or-compose/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("app_id", APPS)
def test_sidecars_are_the_version_that_is_tested(app_id: str) -> None:
    """The official image, of the version that the launcher builds or downloads."""
    assert f"daprio/daprd:{daprd.VERSION}" == SERVICES[SIDECARS[app_id]]["image"]


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("app_id", APPS)
def test_sidecars_are_told_what_the_launcher_tells_them(app_id: str, broker: str) -> None:
    """The same flags with the same values, but for addresses and ports; the same components and configuration."""
    app = read_apps()[app_id]
    folders = resource_folders(app.resources, broker, "redis")
    expected = flags(sidecar.command(Path("./daprd"), app, Sidecar(app_id, 0, 0, 0, 0), folders, (app.config,)))
    words = [chosen(word, BROKER=broker) for word in SERVICES[SIDECARS[app_id]]["command"]]
    actual = {
        (name, str(ROOT) + value) if name in ("--resources-path", "--config") else (name, value)
        for name, value in flags(words)
    }
    free = ADDRESSES | PORTS

    assert {one for one in expected if one[0] not in free} | {("--config", f"{ROOT}/names.yaml")} == {
        one for one in actual if one[0] not in free
    }
    assert {name for name, _ in expected} - ADDRESSES == {name for name, _ in actual} - ADDRESSES


@pytest.mark.parametrize("app_id", APPS)
def test_an_app_and_its_sidecar_find_each_other(app_id: str, secrets: Path) -> None:
    """By container names and ports that agree; the app takes its settings."""
    app, own = SERVICES[app_id], SIDECARS[app_id]
    read = settings.read(environment(app_id, secrets))

    assert (own, flag(app_id, "--dapr-http-port")) == (read.dapr_host, str(read.dapr_http_port))
    assert (app_id, flag(app_id, "--app-port")) == (flag(app_id, "--app-channel-address"), str(read.app_port))
    assert "0.0.0.0" == read.app_host == flag(app_id, "--dapr-listen-addresses")
    assert ["python", "-m", *read_apps()[app_id].command[2:]] == app["command"]
    assert (read.app_api_token, read.dapr_api_token) == tuple(
        environment(own, secrets)[name] for name in ("APP_API_TOKEN", "DAPR_API_TOKEN")
    )


@pytest.mark.parametrize("app_id", APPS)
def test_what_dapr_yaml_sets_is_set(app_id: str) -> None:
    """The app's own settings are those of dapr.yaml."""
    own = read_apps()[app_id].env

    assert dict(own) == {name: SERVICES[app_id]["environment"].get(name) for name in own}


def test_the_gateway_and_its_sidecar_have_one_pod_name(secrets: Path) -> None:
    """The sidecar's consumer group and the app's probe are named by it."""
    assert environment("gateway", secrets)["POD_NAME"] == environment("gateway-dapr", secrets)["POD_NAME"]


def test_mail_goes_to_the_catcher() -> None:
    """By the port that it listens on."""
    environment = SERVICES["notification"]["environment"]
    server = MailServer.from_url(environment["SMTP_URL"], environment["MAIL_TLS"])
    command = SERVICES["mail"]["command"]

    assert ("mail", command[command.index("--smtp-port") + 1]) == (server.host, str(server.port))
    assert "off" == server.policy  # the catcher has no certificate, and is on a network of its own
    assert "0.0.0.0" == command[command.index("--host") + 1]
    assert {"notification", "mail"} == members("mail")


@pytest.mark.parametrize("app_id", APPS)
def test_an_app_is_reached_by_its_own_sidecar_only(app_id: str) -> None:
    """A network of its own with nobody else on it; brokers, stores and other sidecars are on one where no app is."""
    assert {app_id, SIDECARS[app_id]} == members(app_id)
    assert {app_id, "mesh"} == set(SERVICES[SIDECARS[app_id]]["networks"])
    assert "mesh" not in SERVICES[app_id]["networks"]


def test_nothing_but_the_gateway_and_the_mails_is_published() -> None:
    """On the loopback interface; every other network has no way out."""
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    open_networks = {name for name, network in COMPOSE["networks"].items() if not network.get("internal")}

    assert {"gateway", "mail"} == set(published)
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert {"front"} == open_networks
    assert {"gateway", "mail"} == members("front")


@pytest.mark.parametrize("name", SERVICES)
def test_any_order_of_starting_will_do(name: str) -> None:
    """Nobody waits for anybody, and who ends is started again."""
    assert "unless-stopped" == SERVICES[name]["restart"]
    assert "depends_on" not in SERVICES[name]


@pytest.mark.parametrize("name", SERVICES)
def test_health_is_asked_where_there_is_something_to_ask_with(name: str) -> None:
    """Never in a sidecar, whose image holds one program; everywhere else, without a shell."""
    if name in SIDECARS.values():
        assert "healthcheck" not in SERVICES[name]
    elif name == "keeper":  # it serves nothing
        assert {"disable": True} == SERVICES[name]["healthcheck"]
    else:
        assert "CMD" == SERVICES[name]["healthcheck"]["test"][0]


@pytest.mark.parametrize("name", [*APPS, *SIDECARS.values(), "mail", "keeper"])
def test_what_strangers_reach_can_do_little(name: str) -> None:
    """Nothing to write on, no capabilities, no way to more rights."""
    service = SERVICES[name]

    assert service["read_only"]
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]


@pytest.mark.parametrize("app_id", APPS)
def test_everybody_may_finish(app_id: str) -> None:
    """A stop waits longer than what is being answered or delivered may take."""
    assert seconds(SERVICES[app_id]["stop_grace_period"]) > STOP_SECONDS_MAX
    assert seconds(SERVICES[SIDECARS[app_id]]["stop_grace_period"]) > int(
        flag(app_id, "--dapr-graceful-shutdown-seconds")
    )


@pytest.mark.parametrize("broker", BROKERS)
@pytest.mark.parametrize("app_id", APPS)
def test_components_find_what_they_read_from_the_environment(app_id: str, broker: str, secrets: Path) -> None:
    """Every `envRef` of every file that the sidecar reads is set, and names a server that this broker starts."""
    env = environment(SIDECARS[app_id], secrets)
    words = [chosen(value, BROKER=broker) for name, value in flags(SERVICES[SIDECARS[app_id]]["command"]) if value]
    folders = [ROOT / word.lstrip("/") for word in words if word.startswith("/components")]
    components = [yaml.safe_load(file.read_text("utf-8")) for folder in folders for file in folder.glob("*.yaml")]
    wanted_state = {
        each["envRef"] for one in components for each in one["spec"].get("metadata", []) if "envRef" in each
    }
    running = {name for name, service in SERVICES.items() if set(service.get("profiles", [broker])) == {broker}}
    hosts = {re.sub(r"^\w+://|.*@", "", env[name]).partition(":")[0] for name in wanted_state}

    assert 3 == len(folders)
    assert "replies" in {one["metadata"]["name"] for one in components}
    assert wanted_state
    assert hosts <= running


def test_secrets_are_new_each_time_and_readable_by_their_owner_only(secrets: Path, tmp_path: Path) -> None:
    """A second run keeps what is there."""
    before = variables(*secrets.iterdir())
    again = subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True, text=True)
    kept = variables(*secrets.iterdir())
    shutil.rmtree(secrets)
    subprocess.run([tmp_path / "make-secrets"], check=True, capture_output=True)
    after = variables(*secrets.iterdir())
    changed = {name for name in before if before[name] != after[name]}

    assert {0o600} == {stat.S_IMODE(file.stat().st_mode) for file in secrets.iterdir()}
    assert 0o700 == stat.S_IMODE(secrets.stat().st_mode)
    assert before == kept
    assert "exists already" in again.stdout
    assert {"APP_API_TOKEN", "DAPR_API_TOKEN", "AMQP_URL", "RABBITMQ_DEFAULT_PASS"} == changed
    assert before["APP_API_TOKEN"] != before["DAPR_API_TOKEN"]
    assert f"//{before['RABBITMQ_DEFAULT_USER']}:{before['RABBITMQ_DEFAULT_PASS']}@" in before["AMQP_URL"]


def test_every_file_that_is_mounted_is_there() -> None:
    """An engine makes a folder of a file that is missing, without a word."""
    mounts = [mount for service in SERVICES.values() for mount in service.get("volumes", []) if mount.startswith(".")]

    assert mounts
    assert [] == [mount for mount in mounts if not (FOLDER / mount.partition(":")[0]).exists()]
    assert all(mount.endswith(":ro") for mount in mounts)


def test_what_servers_keep_outlives_their_containers() -> None:
    """A volume each; and an event may be out for as long as with the launcher's own server."""
    volumes = {name: [each.partition(":")[0] for each in SERVICES[name]["volumes"]] for name in SERVERS}
    configuration = (FOLDER / "rabbitmq.conf").read_text(encoding="utf-8")

    assert all(set(each) & set(COMPOSE["volumes"]) for each in volumes.values())
    assert f"consumer_timeout = {rabbitmq.CONSUMER_TIMEOUT_MS}\n" in configuration
    assert {"--appendonly", "yes"} <= set(SERVICES["redis"]["command"])
    assert "hostname" in SERVICES["rabbitmq"]


def test_sidecars_find_each_other_by_the_names_of_their_containers() -> None:
    """What the resolver makes of an app-id is the name of a service of the file."""
    document = yaml.safe_load((FOLDER / "names.yaml").read_text(encoding="utf-8"))
    template = document["spec"]["nameResolution"]["configuration"]["template"]
    found = {app_id: template.replace("{{.ID}}", app_id).partition(":")[0] for app_id in APPS}

    assert SIDECARS == found
    assert 1 == len({flag(app_id, "--dapr-internal-grpc-port") for app_id in APPS})


def test_the_image_has_what_the_apps_read() -> None:
    """Not only their code: the gateway makes its documents of contracts/ and of what describes the brokers."""
    allowed = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = re.findall(r"^COPY (\w+) (\w+)$", DOCKERFILE, re.MULTILINE)
    read = {folder.relative_to(ROOT).parts[0] for folder in (contracts.FOLDER, asyncapi.SERVERS)}

    assert read <= {target for source, target in copied if source == target}
    assert read <= {line.removeprefix("!") for line in allowed if line.startswith("!")}


def pins(lock: str) -> dict[str, str]:
    """The packages of a lock file with their versions."""
    found = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / lock).read_text(encoding="utf-8"), re.MULTILINE)
    return dict(found)


def names(requirements: list[str]) -> set[str]:
    """The packages that requirements ask for."""
    return {re.split(r"[\[<>=~!; ]", requirement, maxsplit=1)[0].lower() for requirement in requirements}


def test_the_image_has_what_is_tested_and_no_tools() -> None:
    """The pins of the small lock are those of the large one; it has what the apps ask for, and no test package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    small, large = pins("requirements-apps.lock"), pins("requirements.lock")
    extras = project["optional-dependencies"]

    assert small
    assert small == {name: large.get(name) for name in small}
    assert names(project["dependencies"] + extras["containers"]) <= set(small)
    assert set() == set(small) & (names(extras["dev"]) | names(extras["launcher"]) - names(extras["containers"]))


def test_what_containers_print_is_bounded() -> None:
    """Each of them, and the total is the one that the README tells."""
    kept = {name: service.get("logging") for name, service in SERVICES.items()}
    assert [] == [name for name, logging in kept.items() if logging is None]

    options = {name: logging["options"] for name, logging in kept.items() if logging is not None}
    assert {"json-file"} == {logging["driver"] for logging in kept.values() if logging is not None}
    assert [("10m", "2")] * len(SERVICES) == [(each["max-size"], each["max-file"]) for each in options.values()]
    assert (14, "280 MiB for the fourteen") == (len(SERVICES), f"{2 * 10 * len(SERVICES)} MiB for the fourteen")
    assert "280 MiB for the fourteen" in (ROOT / "README.md").read_text(encoding="utf-8")
