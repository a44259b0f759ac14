"""Compares the three sources of the topology, before anything starts.

dapr.yaml defines the apps. contracts/ defines the topics, with their publishers and consumers. The
gateway's declarations define the HTTP calls. Each line that this module returns names the file to
change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sidecart.edge.declarations import Application
from sidecart.launcher.apps import App, read_apps
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import make_importable, root
from sidecart.launcher.topics import GATEWAY, INBOX, Topic, read_topics

TOPIC_LIST = "contracts/topics.json"


def check() -> None:
    """Raise LaunchError if one source knows an app, a topic or a call that another does not."""
    make_importable()
    apps = read_apps()
    found = list(contradictions(apps, read_topics(), application_of(apps), inputs_of(apps), root() / "contracts"))
    if found:
        raise LaunchError("the project contradicts itself:" + "".join(f"\n  {each}" for each in found))


def application_of(apps: Mapping[str, App]) -> Application:
    """Return the declarations of the gateway's program; raise LaunchError if it has none."""
    module = _module(apps[GATEWAY]) if GATEWAY in apps else None
    found = vars(import_module(module)).values() if module is not None else ()
    for value in found:
        if isinstance(value, Application):
            return value
    raise LaunchError(
        f"dapr.yaml: the app {GATEWAY} must run a module that declares an sidecart.edge.declarations.Application"
    )


def inputs_of(apps: Mapping[str, App]) -> dict[str, tuple[str, set[str]]]:
    """Return, for each Python service, its events.py and the topics in its INPUTS."""
    found = {}
    for app_id, app in apps.items():
        package = (_module(app) or "").rpartition(".")[0]
        if app_id != GATEWAY and package and find_spec(package) and find_spec(f"{package}.events"):
            events = import_module(f"{package}.events")
            found[app_id] = f"{package.replace('.', '/')}/events.py", set(events.INPUTS)
    return found


def contradictions(
    apps: Mapping[str, App],
    topics: Mapping[str, Topic],
    application: Application,
    inputs: Mapping[str, tuple[str, set[str]]],
    contracts: Path,
) -> Iterator[str]:
    """Yield one line for each contradiction."""
    yield from _of_topics(apps, topics, contracts)
    yield from _of_calls(apps, topics, application, contracts)
    for app_id, (file, known) in inputs.items():
        consumed = {name for name, topic in topics.items() if app_id in topic.consumers and topic.component == INBOX}
        for topic in sorted(consumed - known):
            yield f"{file}: INPUTS lacks {topic}, which {app_id} consumes ({TOPIC_LIST})"
        for topic in sorted(known - consumed):
            yield f"{TOPIC_LIST}: {topic} lacks the consumer {app_id}, whose INPUTS has it ({file})"


def _of_topics(apps: Mapping[str, App], topics: Mapping[str, Topic], contracts: Path) -> Iterator[str]:
    connected = set()
    for name, topic in topics.items():
        for app_id in dict.fromkeys((topic.publisher, *topic.consumers)):
            connected.add(app_id)
            if app_id not in apps:
                yield f"dapr.yaml: no app {app_id}, but {name} has it ({TOPIC_LIST})"
        for path in (contracts / "schemas" / f"{name}.json", contracts / "examples" / name):
            if not path.exists():
                yield f"contracts/{path.relative_to(contracts)} is missing: {name} is in {TOPIC_LIST}"
    for app_id, app in apps.items():
        module = _module(app)
        if module is not None and not _exists(module):
            yield f"dapr.yaml: the app {app_id} runs {module}, and there is no such module"
        if app_id not in connected:
            yield f"{TOPIC_LIST}: the app {app_id} of dapr.yaml neither publishes nor consumes a topic"


def _of_calls(
    apps: Mapping[str, App], topics: Mapping[str, Topic], application: Application, contracts: Path
) -> Iterator[str]:
    sent = {command.topic for command in application.commands}
    for topic in sorted(name for name, each in topics.items() if each.publisher == GATEWAY and name not in sent):
        yield f"gateway/commands.py: no command publishes {topic}, whose publisher is the {GATEWAY} ({TOPIC_LIST})"
    for command in application.commands:
        if command.topic not in topics:
            yield f"{TOPIC_LIST}: no topic {command.topic}, which POST {command.path} publishes"
        for reply in (command.success, command.rejection):
            if reply not in topics or GATEWAY not in topics[reply].consumers:
                yield f"{TOPIC_LIST}: {reply} must have the consumer {GATEWAY}: it answers POST {command.path}"
    for app_id in application.services:
        if app_id not in apps:
            yield f"dapr.yaml: no app {app_id}, which the {GATEWAY} calls (gateway/queries.py)"
    schemas = {query.path: query.schema for query in application.queries}
    schemas |= {command.path: command.answer_schema for command in application.commands}
    for path, schema in schemas.items():
        if not (contracts / "http" / f"{schema}.json").exists():
            yield f"contracts/http/{schema}.json is missing: it describes the answer of {path}"


def _module(app: App) -> str | None:
    """Return the Python module that an app runs, if it runs one."""
    command = list(app.command)
    return command[command.index("-m") + 1] if "-m" in command[:-1] else None


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
