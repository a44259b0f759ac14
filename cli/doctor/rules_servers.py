"""The brokers and stores in a compose file: what they keep when they end."""

import re
from collections.abc import Iterator
from pathlib import Path

from cli.doctor.findings import Hit, Place
from cli.doctor.sight import Sight
from cli.doctor.starts import mounts
from cli.doctor.yaml_files import Document, Tree

_REDIS = re.compile(r"(^|/)(redis|valkey|redis-stack-server)(:|@|$)")
_RABBITMQ = re.compile(r"(^|/)rabbitmq(:|@|$)")


def _services(sight: Sight, image: "re.Pattern[str]") -> Iterator[tuple[Document, str, Tree]]:
    for document in sight.sources:
        for name, service in document.root.entries("services").items():
            if image.search(service.text("image")):
                yield document, name, service


def _place(document: Document, service: Tree, *path: str) -> Place:
    return Place.of(document.file, service.line_of(*path))


def _words(service: Tree) -> str:
    command = service.at("command")
    return (
        " ".join(service.texts("command"))
        if command is None or isinstance(command.value, list)
        else service.text("command")
    )


def _mounted(document: Document, service: Tree) -> tuple[str, bool]:
    """The configuration files that a server finds, as one text, and whether there are some that can't be read."""
    text, unread = "", False
    for here, there in mounts(document.file, service, {}):
        if here and (there.endswith(".conf") or Path(here).is_dir()):
            paths = sorted(Path(here).glob("*.conf")) if Path(here).is_dir() else [Path(here)]
            for path in paths:
                try:
                    text += path.read_text(encoding="utf-8") + "\n"
                except (OSError, UnicodeDecodeError):
                    unread = True
    return text, unread


def not_append_only(sight: Sight) -> Iterator[Hit]:
    """The default is a snapshot now and then."""
    for document, name, service in _services(sight, _REDIS):
        text, unread = _mounted(document, service)
        said = f"{_words(service)}\n{text}"
        if not unread and not re.search(r"appendonly\s+yes", said):
            what = f"{name} writes a snapshot now and then: events and state since the last one are lost when it ends"
            fix = 'command: ["redis-server", "--appendonly", "yes"]'
            yield Hit(_place(document, service, "command"), what, fix)


def no_hostname(sight: Sight) -> Iterator[Hit]:
    """RabbitMQ keeps its data under the node's name, which is made of the host's."""
    for document, name, service in _services(sight, _RABBITMQ):
        if not service.text("hostname") and not service.text("environment", "RABBITMQ_NODENAME"):
            what = f"{name} is another node when its container is made anew: its queues, with what is in them, are gone"
            yield Hit(_place(document, service, "image"), what, f"hostname: {name}")


def no_volume(sight: Sight) -> Iterator[Hit]:
    """What is in the container goes with it."""
    for image, folder in ((_REDIS, "/data"), (_RABBITMQ, "/var/lib/rabbitmq")):
        for document, name, service in _services(sight, image):
            targets = [there for _, there in mounts(document.file, service, {})]
            if not any(Path(folder).is_relative_to(target) for target in targets if target):
                what = f"{name} keeps its data in the container: `docker compose down` removes it"
                yield Hit(_place(document, service, "image"), what, f'volumes: ["{name}:{folder}"]')


def consumer_timeout(sight: Sight) -> Iterator[Hit]:
    """The default is 30 minutes (ADR 22)."""
    for document, name, service in _services(sight, _RABBITMQ):
        text, unread = _mounted(document, service)
        if not unread and not re.search(r"^\s*consumer_timeout\s*=", text, re.MULTILINE):
            what = f"{name} hands out again after 30 minutes what a sidecar has forgotten"
            fix = "consumer_timeout = 300000 in a file that is mounted below /etc/rabbitmq/conf.d"
            yield Hit(_place(document, service, "image"), what, fix)
