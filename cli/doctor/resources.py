"""Dapr's own documents: components, resiliency, subscriptions, configurations, with the line of everything in them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from cli.doctor.dapr_values import truthy
from cli.doctor.findings import Place
from cli.doctor.yaml_files import Document

GROUP = "dapr.io/"
KINDS = {
    "Component": ("v1alpha1",),
    "Configuration": ("v1alpha1",),
    "HTTPEndpoint": ("v1alpha1",),
    "MCPServer": ("v1alpha1",),
    "Resiliency": ("v1alpha1",),
    "Subscription": ("v1alpha1", "v2alpha1"),
    "WorkflowAccessPolicy": ("v1alpha1",),
}
"""What daprd 1.18.2 loads, and under which version (pkg/apis)."""

PUBLISH_ONLY = "publish-only"
READ_ONLY = "read-only"
_IGNORE = re.compile(r"ignore ([a-z][a-z-]*): (\S.{6,})")


@dataclass(frozen=True, slots=True)
class Setting:
    """One entry of a component's metadata; its value is None if it comes from elsewhere (envRef, secretKeyRef)."""

    name: str
    value: str | None
    env: str
    line: int


@dataclass(frozen=True, slots=True)
class Resource:
    """One document of Dapr's."""

    document: Document

    @property
    def kind(self) -> str:
        """What it is."""
        return self.document.root.text("kind")

    @property
    def name(self) -> str:
        """Its name."""
        return self.document.root.text("metadata", "name")

    @property
    def scopes(self) -> list[str]:
        """The app-ids that it is for; none: all."""
        return self.document.root.texts("scopes")

    def is_for(self, app_id: str) -> bool:
        """Whether the sidecar of an app takes it."""
        return not self.scopes or app_id in self.scopes

    def place(self, *path: str) -> Place:
        """Where something of it stands, or the last thing on the way there."""
        return Place.of(self.document.file, self.document.root.line_of(*path) if path else self.document.line)

    def on(self, line: int) -> Place:
        """A line of its file."""
        return Place.of(self.document.file, line)

    def says(self, word: str) -> bool:
        """Whether a comment for the doctor says so."""
        return any(comment.text == word for comment in self.document.comments)


@dataclass(frozen=True, slots=True)
class Component(Resource):
    """A component with its settings; names are compared without case, as daprd's decoder does."""

    @property
    def type(self) -> str:
        """Such as pubsub.redis."""
        return self.document.root.text("spec", "type")

    @property
    def settings(self) -> list[Setting]:
        """What its metadata says, in order."""
        return [
            Setting(entry.text("name"), _value_of(entry.entries()), entry.text("envRef"), entry.line)
            for entry in self.document.root.items("spec", "metadata")
            if entry.entries()
        ]

    def setting(self, name: str) -> Setting | None:
        """The setting of that name."""
        return next((each for each in self.settings if each.name.lower() == name.lower()), None)

    def value(self, name: str, default: str = "") -> str | None:
        """What a setting says, or what daprd takes without it; None if that can't be seen in the file."""
        found = self.setting(name)
        return default if found is None or found.value == "" else found.value

    def is_true(self, name: str, default: str = "false") -> bool:
        """Whether a switch is on for sure."""
        value = self.value(name, default)
        return value is not None and truthy(value)

    def is_false(self, name: str, default: str = "false") -> bool:
        """Whether a switch is off for sure."""
        value = self.value(name, default)
        return value is not None and not truthy(value)

    def place_of(self, name: str) -> Place:
        """Where a setting stands, or, without it, where the component says its type."""
        found = self.setting(name)
        return self.place("spec", "type") if found is None else self.on(found.line)

    @property
    def is_read(self) -> bool:
        """Whether anybody may subscribe on it; a comment `# doctor: publish-only` says that nobody does."""
        return not self.says(PUBLISH_ONLY)

    @property
    def is_published_to(self) -> bool:
        """Whether anybody may publish on it; a comment `# doctor: read-only` says that nobody does."""
        return not self.says(READ_ONLY)

    @property
    def server(self) -> tuple[str, ...]:
        """Which server it speaks to, as far as the file says: components of one are the same here."""
        names = ("connectionString", "host", "hostname", "redisHost")
        found = [each for each in map(self.setting, names) if each is not None]
        return tuple(f"{each.value or ''}${each.env}" for each in found)


def _value_of(entry: "Mapping[str, object]") -> str | None:
    value = getattr(entry.get("value"), "value", None)
    if isinstance(value, str):
        return value
    return None if "envRef" in entry or "secretKeyRef" in entry else ""


class Retry(NamedTuple):
    """A retry policy and where it stands."""

    name: str
    resiliency: Resource

    def text(self, key: str) -> str:
        """What it says of something."""
        return self.resiliency.document.root.text("spec", "policies", "retries", self.name, key)

    def place(self, key: str) -> Place:
        """Where it says so."""
        return self.resiliency.place("spec", "policies", "retries", self.name, key)


DEFAULT_RETRIES = (
    "DefaultPubsubComponentInboundRetryPolicy",
    "DefaultComponentInboundRetryPolicy",
    "DefaultComponentRetryPolicy",
    "DefaultRetryPolicy",
)
"""Which policy a component takes that is no target, the first that is there (pkg/resiliency, dapr 1.18.2)."""

T = TypeVar("T", bound=Resource)


def targeted(resiliencies: Iterable[Resource], component: str) -> Resource | None:
    """The document that has a component as its target; the last one counts."""
    found = [each for each in resiliencies if each.document.root.at("spec", "targets", "components", component)]
    return found[-1] if found else None


def inbound_retry(resiliencies: Iterable[Resource], component: str) -> Retry | None:
    """The retry policy for what a pub/sub component brings to the app; one that is a target takes no default."""
    known = {
        name: Retry(name, each)
        for each in resiliencies
        for name in each.document.root.entries("spec", "policies", "retries")
    }
    target = targeted(resiliencies, component)
    if target is not None:
        name = target.document.root.text("spec", "targets", "components", component, "inbound", "retry")
        return known.get(name)
    return next((known[name] for name in DEFAULT_RETRIES if name in known), None)


def ignored(document: Document) -> dict[str, int]:
    """The rules that a document asks not to be told, with the lines of the comments."""
    found = [(_IGNORE.fullmatch(comment.text), comment.line) for comment in document.comments]
    return {match[1]: line for match, line in found if match is not None}


def is_understood(text: str) -> bool:
    """Whether a comment for the doctor is one of those that there are."""
    return text in (PUBLISH_ONLY, READ_ONLY) or _IGNORE.fullmatch(text) is not None
