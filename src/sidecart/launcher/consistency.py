"""Compares the sources of the topology, before anything starts.

dapr.yaml defines the apps. contracts/ defines the topics, with their publishers and consumers, and
the bodies of HTTP answers. The gateway's declarations define the HTTP calls. Each service declares
its events and reads. If one of them knows an app, a topic or a call that another does not, this
module returns a line that names the file to change and the name that the file lacks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from sidecart.edge.declarations import Application
from sidecart.launcher.access_control import reads_of
from sidecart.launcher.apps import App, read_apps
from sidecart.launcher.components import read_components
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.project import make_importable, root
from sidecart.launcher.service_code import ServiceCode, exists, imported, module_run_by, read_services, without_names
from sidecart.launcher.topics import CONTRACTS, GATEWAY, INBOX, TOPIC_LIST, Topic, read_topics

RUN_FILE = "dapr.yaml"
COMMANDS = f"{GATEWAY}/commands.py"
QUERIES = f"{GATEWAY}/queries.py"
OF_THE_EDGE = frozenset({"accepted", "problem", "ready", "unfinished"})
"""The files of contracts/http that every project has: the edge's own answers."""


def check() -> None:
    """Raise LaunchError if one source knows an app, a topic or a call that another does not."""
    make_importable()
    apps = read_apps()
    services = read_services(apps)
    found = [
        *contradictions(apps, read_topics(), application_of(apps), services, root() / CONTRACTS),
        *unknown_components(read_topics(), components_of(apps)),
        *unlisted_services(apps, root()),
    ]
    if found:
        raise LaunchError("the project contradicts itself:" + "".join(f"\n  {each}" for each in found))


def application_of(apps: Mapping[str, App]) -> Application:
    """Return the declarations of the gateway's program; raise LaunchError if it has none."""
    module = module_run_by(apps[GATEWAY]) if GATEWAY in apps else None
    found = vars(imported(module)).values() if module is not None else ()
    for value in found:
        if isinstance(value, Application):
            return value
    raise LaunchError(
        f"{RUN_FILE}: the app {GATEWAY} must run a module that declares a sidecart.edge.declarations.Application"
    )


def components_of(apps: Mapping[str, App]) -> dict[str, list[Path]]:
    """Return the files of each component that the apps of dapr.yaml load, by name."""
    found: dict[str, list[Path]] = {}
    for folder in dict.fromkeys(folder for app in apps.values() for folder in app.resources):
        for component in read_components(folder):
            found.setdefault(component.name, []).append(component.file)
    return found


def unknown_components(topics: Mapping[str, Topic], components: Collection[str]) -> Iterator[str]:
    """Each topic is read on a component that exists."""
    for name, topic in topics.items():
        if topic.component not in components:
            yield f"{TOPIC_LIST}: {name} has the component {topic.component}, which no file of components/ defines"


def unlisted_services(apps: Mapping[str, App], folder: Path) -> Iterator[str]:
    """Each service beside those of dapr.yaml is one of its apps."""
    run = {module for app in apps.values() if (module := module_run_by(app)) is not None}
    for above in sorted({"/".join(module.split(".")[:-2]) for module in run} - {""}):
        for file in sorted((folder / above).glob("*/app.py")):
            path = file.relative_to(folder).with_suffix("")
            if ".".join(path.parts) not in run:
                yield f"{RUN_FILE}: no app runs {path}.py"


def contradictions(
    apps: Mapping[str, App],
    topics: Mapping[str, Topic],
    application: Application,
    services: Mapping[str, ServiceCode],
    contracts: Path,
) -> Iterator[str]:
    """Yield one line for each contradiction."""
    yield from _of_topics(apps, topics, contracts)
    yield from _of_apps(apps, topics)
    yield from _of_commands(topics, application)
    yield from _of_answers(application, contracts)
    for app_id in application.services:
        if app_id not in apps:
            yield f"{RUN_FILE}: no app {app_id}, which the {GATEWAY} calls ({QUERIES})"
    for app_id, code in services.items():
        yield from _of_events(app_id, code, topics)
        yield from _of_reads(app_id, code, application)


def _of_topics(apps: Mapping[str, App], topics: Mapping[str, Topic], contracts: Path) -> Iterator[str]:
    """The topic list, the schemas and the examples know the same topics, and the apps exist."""
    for name, topic in topics.items():
        for app_id in dict.fromkeys((topic.publisher, *topic.consumers)):
            if app_id not in apps:
                yield f"{RUN_FILE}: no app {app_id}, but {name} has it ({TOPIC_LIST})"
        for path in (contracts / "schemas" / f"{name}.json", contracts / "examples" / name):
            if not path.exists():
                yield f"{CONTRACTS}/{path.relative_to(contracts)} is missing: {name} is in {TOPIC_LIST}"
    for path in sorted((contracts / "schemas").glob("*.json")):
        if path.stem not in topics:
            yield f"{TOPIC_LIST}: no topic {path.stem}, which {CONTRACTS}/schemas/{path.name} describes"


def _of_apps(apps: Mapping[str, App], topics: Mapping[str, Topic]) -> Iterator[str]:
    """Each app has a program and takes part in a topic."""
    connected = {app_id for topic in topics.values() for app_id in (topic.publisher, *topic.consumers)}
    for app_id, app in apps.items():
        module = module_run_by(app)
        if module is not None and not exists(module):
            yield f"{RUN_FILE}: the app {app_id} runs {module}, and there is no such module"
        if app_id not in connected:
            yield f"{TOPIC_LIST}: the app {app_id} of {RUN_FILE} neither publishes nor consumes a topic"


def _of_commands(topics: Mapping[str, Topic], application: Application) -> Iterator[str]:
    """The gateway publishes and consumes the topics of its commands."""
    sent = {command.topic for command in application.all_commands}
    for topic in sorted(name for name, each in topics.items() if each.publisher == GATEWAY and name not in sent):
        yield f"{COMMANDS}: no command publishes {topic}, whose publisher is the {GATEWAY} ({TOPIC_LIST})"
    for command in application.all_commands:
        if command.topic not in topics:
            yield f"{TOPIC_LIST}: no topic {command.topic}, which {command.call} publishes"
        elif topics[command.topic].publisher != GATEWAY:
            yield f"{TOPIC_LIST}: {command.topic} must have the publisher {GATEWAY}: {command.call} publishes it"
        for reply in command.replies:
            if reply not in topics or GATEWAY not in topics[reply].consumers:
                yield f"{TOPIC_LIST}: {reply} must have the consumer {GATEWAY}: it answers {command.call}"


def _of_answers(application: Application, contracts: Path) -> Iterator[str]:
    """Each call has the schema of its answer, and each schema has a call."""
    schemas = {query.path: query.schema for query in application.queries}
    schemas |= {command.call: command.answer_schema for command in application.all_commands}
    schemas |= {export.path: export.schema for export in application.exports}
    for path, schema in schemas.items():
        if not (contracts / "http" / f"{schema}.json").exists():
            yield f"{CONTRACTS}/http/{schema}.json is missing: it describes the answer of {path}"
    for file in sorted((contracts / "http").glob("*.json")):
        if file.stem not in OF_THE_EDGE and file.stem not in schemas.values():
            yield f"{QUERIES}: no call has the answer {file.stem} ({CONTRACTS}/http/{file.name})"


def _of_events(app_id: str, code: ServiceCode, topics: Mapping[str, Topic]) -> Iterator[str]:
    """A service consumes and publishes the topics that the topic list gives it."""
    events = f"{code.folder}/events.py"
    consumed = {name for name, topic in topics.items() if app_id in topic.consumers and topic.component == INBOX}
    for topic in sorted(consumed - code.inputs):
        yield f"{events}: INPUTS lacks {topic}, which {app_id} consumes ({TOPIC_LIST})"
    for topic in sorted(code.inputs - consumed):
        yield f"{TOPIC_LIST}: {topic} lacks the consumer {app_id}, whose INPUTS has it ({events})"
    published = {name for name, topic in topics.items() if topic.publisher == app_id}
    for topic in sorted(published - code.outputs):
        yield f"{events}: Output lacks {topic}, which {app_id} publishes ({TOPIC_LIST})"
    for topic in sorted(code.outputs - published):
        yield f"{TOPIC_LIST}: no topic {topic} with the publisher {app_id}, whose Output has it ({events})"


def _of_reads(app_id: str, code: ServiceCode, application: Application) -> Iterator[str]:
    """A service answers the calls of the gateway, and the gateway calls all that it answers."""
    if code.reads is None:
        return
    calls = {without_names(path): path for path in reads_of(app_id, application)}
    reads = {without_names(path): path for path in code.reads}
    for path in sorted(calls.keys() - reads.keys()):
        yield f"{code.folder}/app.py: no Read of {calls[path]}, which the {GATEWAY} calls"
    for path in sorted(reads.keys() - calls.keys()):
        file, what = (COMMANDS, "flow") if path.startswith("/unfinished/") else (QUERIES, "query")
        yield f"{file}: no {what} reads {reads[path]}, which {app_id} answers ({code.folder}/app.py)"
