"""Rules for brokers and stores in a compose file: persistence and redelivery."""

import re
from collections.abc import Iterator
from pathlib import Path

from sidecart.doctor.compose_files import environment_of, mounts
from sidecart.doctor.dapr_values import expanded
from sidecart.doctor.findings import Place, Violation
from sidecart.doctor.sidecar_config import SidecarConfig
from sidecart.doctor.starts import Environment, Knowledge, read_env_file
from sidecart.doctor.yaml_files import Document, Tree

_REDIS = re.compile(r"(docker\.io/)?((library/)?redis|valkey/valkey|redis/redis-stack-server)(:|@|$)")
_RABBITMQ = re.compile(r"(docker\.io/)?(library/)?rabbitmq(:|@|$)")
"""The official images; other images have other defaults, which the doctor does not know."""
_ARGUMENTS = {"redis-stack-server": "REDIS_ARGS", "valkey/valkey": "VALKEY_EXTRA_FLAGS"}
"""The variable that an image's entrypoint appends to the server's command; `redis` has none."""
_APPEND_ONLY = re.compile(r"""appendonly\s+["']?yes""", re.IGNORECASE)

EVICTS_NOTHING = "noeviction"
_POLICY = re.compile(r"""maxmemory-policy\s+["']?([\w-]+)""", re.IGNORECASE)
_LOGIN = re.compile(r"(^|\s|-)(aclfile|requirepass)\s", re.IGNORECASE | re.MULTILINE)


def _services(config: SidecarConfig, image: "re.Pattern[str]") -> Iterator[tuple[Document, str, Tree]]:
    for document in config.sources:
        for name, service in document.root.entries("services").items():
            if image.match(_image(document, service)):
                yield document, name, service


def _variables(document: Document) -> dict[str, str]:
    return read_env_file(document.file.parent / ".env") or {}


def _image(document: Document, service: Tree) -> str:
    return expanded(service.text("image"), _variables(document))


def _environment(document: Document, service: Tree) -> Environment:
    return environment_of(document.file, service, _variables(document))


def _place(document: Document, service: Tree, *path: str) -> Place:
    return Place.of(document.file, service.line_of(*path))


def _command(document: Document, service: Tree) -> tuple[str, bool]:
    """The server's command line as one text, and whether part of it is not in the files."""
    words = [text for key in ("entrypoint", "command") for text in (service.text(key), *service.texts(key))]
    name = next((name for part, name in _ARGUMENTS.items() if part in _image(document, service)), None)
    environment = _environment(document, service)
    added = None if name is None else environment.variables.get(name)
    hidden = name is not None and (added == "" or (added is None and environment.known is Knowledge.PART))
    return f"{expanded(' '.join(words), _variables(document))} {added or ''}", hidden


def _mounted(document: Document, service: Tree) -> tuple[str, bool]:
    """The server's mounted configuration files as one text, and whether one is unreadable."""
    text, unread = "", False
    for here, there in mounts(document.file, service, {}):
        if here and (there.endswith(".conf") or Path(here).is_dir()):
            paths = sorted(Path(here).glob("*.conf")) if Path(here).is_dir() else [Path(here)]
            for path in paths:
                try:
                    text += path.read_text(encoding="utf-8") + "\n"
                except (OSError, ValueError):  # not UTF-8, or a NUL in the path
                    unread = True
    return text, unread


def not_append_only(config: SidecarConfig) -> Iterator[Violation]:
    """By default Redis writes periodic snapshots only."""
    for document, name, service in _services(config, _REDIS):
        text, unread = _mounted(document, service)
        command, hidden = _command(document, service)
        if not unread and not hidden and not _APPEND_ONLY.search(f"{command}\n{text}"):
            what = f"{name} writes periodic snapshots only: when it stops, events and state since the last one are lost"
            fix = 'command: ["redis-server", "--appendonly", "yes"]'
            yield Violation(_place(document, service, "command"), what, fix)


def evicts(config: SidecarConfig) -> Iterator[Violation]:
    """By default Redis evicts nothing; with another policy a full server deletes keys."""
    for document, name, service in _services(config, _REDIS):
        command, _ = _command(document, service)
        text, _ = _mounted(document, service)
        found = _POLICY.search(f"{command}\n{text}")
        if found is not None and found[1] != EVICTS_NOTHING:
            what = f"when {name} is full, it deletes keys ({found[1]}): state, or a stream with its events"
            yield Violation(_place(document, service, "command"), what, f"--maxmemory-policy {EVICTS_NOTHING}")


def is_open(config: SidecarConfig) -> Iterator[Violation]:
    """Without an ACL file or a password, Redis accepts every caller as its administrator."""
    for document, name, service in _services(config, _REDIS):
        text, unread = _mounted(document, service)
        command, hidden = _command(document, service)
        if not unread and not hidden and not _LOGIN.search(f"{command}\n{text}"):
            what = f"{name} accepts every program that reaches it: a container of its network can change any record"
            fix = "--aclfile FILE with a login per app (`sidecart scopes` writes tye-or-compose/redis.acl)"
            yield Violation(_place(document, service, "image"), what, fix)


def no_hostname(config: SidecarConfig) -> Iterator[Violation]:
    """RabbitMQ stores its data under the node's name, which contains the host name."""
    for document, name, service in _services(config, _RABBITMQ):
        environment = _environment(document, service)
        # A name without a value in the file is enough: the shell sets it.
        is_named = "RABBITMQ_NODENAME" in environment.variables or environment.known is Knowledge.PART
        if not service.text("hostname") and not is_named:
            what = f"a recreated container of {name} is a new node: its queues and the events in them are lost"
            yield Violation(_place(document, service, "image"), what, f"hostname: {name}")


def no_volume(config: SidecarConfig) -> Iterator[Violation]:
    """Data in the container is deleted together with the container."""
    for image, folder in ((_REDIS, "/data"), (_RABBITMQ, "/var/lib/rabbitmq")):
        for document, name, service in _services(config, image):
            targets = [there for _, there in mounts(document.file, service, {})]
            if not any(Path(folder).is_relative_to(target) for target in targets if target):
                what = f"{name} stores its data in the container: `docker compose down` deletes it"
                yield Violation(_place(document, service, "image"), what, f'volumes: ["{name}:{folder}"]')


def consumer_timeout(config: SidecarConfig) -> Iterator[Violation]:
    """`consumer_timeout` is 30 minutes by default (ADR 22)."""
    for document, name, service in _services(config, _RABBITMQ):
        text, unread = _mounted(document, service)
        if not unread and not re.search(r"^\s*consumer_timeout\s*=", text, re.MULTILINE):
            what = f"{name} waits 30 minutes before it redelivers an event that a sidecar forgot"
            fix = "consumer_timeout = 300000 in a file mounted below /etc/rabbitmq/conf.d"
            yield Violation(_place(document, service, "image"), what, fix)
