"""The daprd containers of a compose file."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from sidecart.doctor.dapr_values import expanded
from sidecart.doctor.starts import Environment, Flag, Knowledge, Start, is_loopback, read_env_file
from sidecart.doctor.yaml_files import Document, Tree


def is_compose_file(root: Tree) -> bool:
    """Whether a document is a compose file with a sidecar in it."""
    return any(_is_daprd(each) for each in root.entries("services").values())


def of_compose_file(document: Document, variables: Mapping[str, str]) -> list[Start]:
    """The sidecars of a compose file; `variables` expand its `${NAME}` references."""
    known = (read_env_file(document.file.parent / ".env") or {}) | dict(variables)
    services = document.root.entries("services").values()
    return [_container(document.file, service, known) for service in services if _is_daprd(service)]


def _container(file: Path, service: Tree, variables: dict[str, str]) -> Start:
    flags = _flags(service.at("command"), variables)
    environment = environment_of(file, service, variables)
    listens = flags.get("dapr-listen-addresses", ())
    on_loopback = bool(listens) and all(is_loopback(each) for each in listens[-1].value.split(","))
    on_host = service.text("network_mode") == "host" and not on_loopback
    return Start(
        file=file,
        line=service.line,
        app_id=flags["app-id"][-1].value if "app-id" in flags else "",
        flags=flags,
        environment=environment,
        resources=_on_host(file, service, flags.get("resources-path", ()), variables),
        configs=_on_host(file, service, flags.get("config", ()), variables),
        is_reachable=on_host or _publishes(service, flags, variables),
        is_compose=True,
    )


def _is_daprd(service: Tree) -> bool:
    words = _words(service.at("command"))
    program = words[0][0] if words else ""
    return program.rpartition("/")[2] == "daprd" or bool(re.search(r"(^|/)daprd(:|@|$)", service.text("image")))


def _words(command: Tree | None) -> list[tuple[str, int]]:
    if command is None:
        return []
    if isinstance(command.value, list):
        return [(each.value, each.line) for each in command.value if isinstance(each.value, str)]
    try:
        return [(word, command.line) for word in shlex.split(str(command.value))]
    except ValueError:  # unbalanced quotes
        return [(word, command.line) for word in str(command.value).split()]


def _flags(command: Tree | None, variables: dict[str, str]) -> dict[str, tuple[Flag, ...]]:
    """Parse flags: `--name=value`, `--name value` or `--name`; one hyphen works as well."""
    words = [(expanded(word, variables), line) for word, line in _words(command)]
    found: dict[str, tuple[Flag, ...]] = {}
    for index, (word, line) in enumerate(words):
        if not re.match(r"--?[a-z]", word):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        if not equals and index + 1 < len(words) and not words[index + 1][0].startswith("-"):
            value = words[index + 1][0]
        found[name] = (*found.get(name, ()), Flag(value, line))
    return found


def environment_of(file: Path, service: Tree, variables: Mapping[str, str]) -> Environment:
    """A container's environment; it is known as a whole if every env_file could be read."""
    found: dict[str, str] = {}
    whole = True
    env_file = service.at("env_file")
    entries = [] if env_file is None else (env_file.value if isinstance(env_file.value, list) else [env_file])
    for entry in entries:
        path = entry.text("path") or (entry.value if isinstance(entry.value, str) else "")
        lines = read_env_file(file.parent / expanded(path, dict(variables)))
        whole = whole and lines is not None
        found |= lines or {}
    for name, tree in service.entries("environment").items():
        found[name] = expanded(tree.value, dict(variables)) if isinstance(tree.value, str) else variables.get(name, "")
    for text in service.texts("environment"):
        name, equals, value = text.partition("=")
        found[name] = expanded(value, dict(variables)) if equals else variables.get(name, "")
    return Environment(found, Knowledge.WHOLE if whole else Knowledge.PART)


def mounts(file: Path, service: Tree, variables: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """A container's mounts as (path on this machine, path in the container); empty for a volume."""
    for each in service.items("volumes"):
        if isinstance(each.value, str):
            source, _, rest = expanded(each.value, dict(variables)).partition(":")
            target = rest.partition(":")[0]
        else:
            source, target = each.text("source"), each.text("target")
        is_path = source.startswith((".", "/", "~"))
        yield (str(file.parent / source) if is_path else "", target or source)


def _on_host(
    file: Path, service: Tree, flags: Sequence[Flag], variables: Mapping[str, str]
) -> tuple[tuple[Path, int], ...]:
    found = []
    for flag in flags:
        mounted = Path(flag.value)
        known = [(here, there) for here, there in mounts(file, service, variables) if here]
        for here, there in sorted(known, key=lambda each: -len(each[1])):
            if mounted.is_relative_to(there):
                found.append((Path(here) / mounted.relative_to(there), flag.line))
                break
    return tuple(found)


def _publishes(service: Tree, flags: Mapping[str, Sequence[Flag]], variables: dict[str, str]) -> bool:
    """Whether the container publishes a sidecar API port beyond the loopback interface."""
    names = {"dapr-http-port": "3500", "dapr-grpc-port": "50001"}
    own = {flags[name][-1].value if flags.get(name) else default for name, default in names.items()}
    for each in service.items("ports"):
        if isinstance(each.value, str):
            host, _, port = expanded(each.value, variables).rpartition(":")
            address = host.rpartition(":")[0]
        else:
            port, address = each.text("target"), each.text("host_ip")
        if port.partition("/")[0] in own and not is_loopback(address):
            return True
    return False
