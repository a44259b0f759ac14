"""The project's own words on the page: titles, example values, summaries, outcomes.

The table `[tool.sidecart]` of pyproject.toml names the file, `live_page = "FILE.toml"`. Each entry
is optional: without it the page uses the names of apps, topics and fields.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from sidecart.launcher.errors import LaunchError
from sidecart.launcher.record_keys import RecordKey, record_problems
from sidecart.launcher.topics import Topic
from sidecart.monitor.flow import Tone
from sidecart.monitor.templates import fields_of

PROJECT_FILE = "pyproject.toml"


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the file; an unknown name in it is an error."""


class FlowEntry(_Entry, frozen=True):
    """A flow: the POST path and the topic of its command."""

    path: str
    topic: str
    name: str
    title: str
    """A template of the command's data. `{id_name.field}` is a field of the resource with this
    id."""


class Outcome(_Entry, frozen=True):
    """The state of a flow after an event."""

    text: str
    tone: Tone = "plain"


class EventEntry(_Entry, frozen=True):
    """An event."""

    summary: str = ""
    """A template of its data."""
    tone: Tone | None = None
    """The tone of its arrow."""
    outcome: Outcome | None = None
    actions: Mapping[str, str] = {}
    """A consumer's own action on the event, by app-id."""


class FieldEntry(_Entry, frozen=True):
    """A field of a form, or of an element of one of its lists."""

    label: str = ""
    examples: list[str] = []
    """Suggested values, used in turn. `{random}` differs each time; `{field}` is the first word of
    another field, in lower case."""
    money: bool = False
    """The field is entered in the currency, and sent as an integer in minor units."""


class ActionEntry(_Entry, frozen=True):
    """A second button of a form: it sends the form with other values in some of its fields."""

    button: str
    set: Mapping[str, str | int]
    """Maps a field of the form, such as lines.0.size, to the value that the button sends."""


class ShownValue(_Entry, frozen=True):
    """A number in an answer of the gateway."""

    label: str
    field: str
    money: bool = False
    """The number counts minor units of the currency."""


class FormEntry(_Entry, frozen=True):
    """The form of a POST path."""

    title: str = ""
    button: str = ""
    fields: Mapping[str, FieldEntry] = {}
    actions: list[ActionEntry] = []
    shows: ShownValue | None = None
    """The value of the answer that the page shows beside its status."""


class ResourceEntry(_Entry, frozen=True):
    """A kind of resource that forms and panels offer by name, under the name of its id."""

    title: str
    label: str
    """A template of the data of an event whose subject is the resource."""
    detail: str = ""
    unknown: str = "?"
    """A field of a resource that has not been seen."""
    none: str = "none known yet"
    """The text of an empty selection."""

    @property
    def fields(self) -> list[str]:
        """The fields that the page keeps of each resource."""
        return [*fields_of(self.label), *fields_of(self.detail)]


class PanelEntry(_Entry, frozen=True):
    """A table of the known resources of one kind, each with a value that the gateway answers."""

    title: str
    resource: str
    read: str
    shows: ShownValue
    missing: str = "none"
    """The value without such a resource: the gateway answers 404."""
    none: str = "None since this page was opened."
    refreshed_by: list[str] = []
    """The events after which the value is read again."""


class MailEntry(_Entry, frozen=True):
    """The mails that an event requests; the mail catcher shows when the mail server took them."""

    topic: str
    message_id: str
    """The field of the event with the mail's Message-ID."""
    label: str = "Send mail"
    lifeline: str = "Mail"
    none: str = "The mail catcher has no mails."


class ErasureEntry(_Entry, frozen=True):
    """The event that erases a person: the page then forgets what it has seen of them."""

    topic: str
    id: str
    """The field with the id of the person, in this event and in all others."""


class Description(_Entry, frozen=True):
    """The whole file."""

    client: str = "Client"
    """The title of the lifeline of the gateway's callers."""
    none: str = "Send a request. The page draws each event when it is published."
    """The text without a flow."""
    titles: Mapping[str, str] = {}
    """The titles of lifelines, by app-id."""
    flows: list[FlowEntry] = []
    events: Mapping[str, EventEntry] = {}
    forms: Mapping[str, FormEntry] = {}
    resources: Mapping[str, ResourceEntry] = {}
    panels: list[PanelEntry] = []
    mail: MailEntry | None = None
    records: list[RecordKey] = []
    erasure: ErasureEntry | None = None


def read(folder: Path, apps: Iterable[str], topics: Mapping[str, Topic]) -> Description:
    """Return the description of a project, or an empty one if its pyproject.toml names none.

    Raise LaunchError, which names the file and the entry, if it is malformed. The same holds for an
    app, a topic or a resource that does not exist.
    """
    name = _named(folder / PROJECT_FILE)
    if name is None:
        return Description()
    file = folder / name
    try:
        found = msgspec.convert(tomllib.loads(file.read_text(encoding="utf-8")), Description)
        problem = next(_problems(found, set(apps), topics), None)
    except (OSError, ValueError) as error:  # wrong TOML and wrong entries are ValueErrors, too
        raise LaunchError(f"{file} does not describe a live page: {error}") from error
    if problem is not None:
        raise LaunchError(f"{file}: {problem}")
    return found


def _named(file: Path) -> str | None:
    try:
        document: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
        return cast("str | None", document.get("tool", {}).get("sidecart", {}).get("live_page"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, AttributeError) as error:
        raise LaunchError(f"{file} cannot be read: {error}") from error


def _problems(found: Description, apps: set[str], topics: Mapping[str, Topic]) -> Iterator[str]:
    """Yield each name that the sources of the topology do not have."""
    for app_id in found.titles:
        if app_id not in apps:
            yield f"titles.{app_id}: dapr.yaml has no such app"
    yield from record_problems(found.records, apps)
    for place, topic in _topics_named(found):
        if topic not in topics:
            yield f"{place}: contracts/topics.json has no topic {topic}"
    for topic, event in found.events.items():
        for app_id in event.actions:
            if app_id not in topics[topic].consumers:
                yield f"events.{topic}.actions: {app_id} does not consume {topic}"
    for panel in found.panels:
        if panel.resource not in found.resources:
            yield f"panels: {panel.title} shows {panel.resource}, which `resources` does not have"
    for flow in found.flows:
        for id_name, _, field in (each.partition(".") for each in fields_of(flow.title)):
            if field and (id_name not in found.resources or field not in found.resources[id_name].fields):
                yield f"flows: the title of {flow.name} has {id_name}.{field}, which no label of `resources` has"
    for event in found.events.values():
        fields_of(event.summary)


def _topics_named(found: Description) -> Iterator[tuple[str, str]]:
    yield from (("flows", flow.topic) for flow in found.flows)
    yield from (("events", topic) for topic in found.events)
    yield from (("panels", topic) for panel in found.panels for topic in panel.refreshed_by)
    if found.mail is not None:
        yield "mail", found.mail.topic
    if found.erasure is not None:
        yield "erasure", found.erasure.topic
