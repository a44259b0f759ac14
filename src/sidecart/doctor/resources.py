"""Dapr components, resiliency, subscriptions and configurations, with their line numbers."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from sidecart.doctor.dapr_values import truthy
from sidecart.doctor.findings import Place
from sidecart.doctor.yaml_files import Document

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
"""The kinds that daprd 1.18.2 loads, and their API versions (pkg/apis)."""

PUBLISH_ONLY = "publish-only"
READ_ONLY = "read-only"
_IGNORE = re.compile(r"ignore ([a-z][a-z-]*): (\S.{6,})")


@dataclass(frozen=True, slots=True)
class Setting:
    """One metadata entry of a component; `value` is None for an envRef or secretKeyRef."""

    name: str
    value: str | None
    env: str
    line: int


@dataclass(frozen=True, slots=True)
class Resource:
    """One YAML document that defines a Dapr resource."""

    document: Document

    @property
    def kind(self) -> str:
        """The resource's kind, such as Component."""
        return self.document.root.text("kind")

    @property
    def name(self) -> str:
        """The resource's name."""
        return self.document.root.text("metadata", "name")

    @property
    def scopes(self) -> list[str]:
        """The app-ids that load the resource; an empty list means every app."""
        return self.document.root.texts("scopes")

    def is_for(self, app_id: str) -> bool:
        """Whether the app's sidecar loads the resource."""
        return not self.scopes or app_id in self.scopes

    def place(self, *path: str) -> Place:
        """The place of the value at these keys, or of the deepest key that exists."""
        return Place.of(self.document.file, self.document.root.line_of(*path) if path else self.document.line)

    def on(self, line: int) -> Place:
        """The place of a line in the resource's file."""
        return Place.of(self.document.file, line)

    def says(self, word: str) -> bool:
        """Whether the resource has the comment `# doctor: WORD`."""
        return any(comment.text == word for comment in self.document.comments)


@dataclass(frozen=True, slots=True)
class Component(Resource):
    """A component with its settings; like daprd's decoder, it compares names without case."""

    @property
    def type(self) -> str:
        """The component type, such as pubsub.redis."""
        return self.document.root.text("spec", "type")

    @property
    def settings(self) -> list[Setting]:
        """The metadata entries, as the file lists them."""
        return [
            Setting(entry.text("name"), _value_of(entry.entries()), entry.text("envRef"), entry.line)
            for entry in self.document.root.items("spec", "metadata")
            if entry.entries()
        ]

    def setting(self, name: str) -> Setting | None:
        """The setting with this name, or None."""
        return next((each for each in self.settings if each.name.lower() == name.lower()), None)

    def value(self, name: str, default: str = "") -> str | None:
        """The setting's value, or daprd's default; None if the file does not contain the value."""
        found = self.setting(name)
        return default if found is None or found.value == "" else found.value

    def is_true(self, name: str, default: str = "false") -> bool:
        """Whether the setting is certainly true."""
        value = self.value(name, default)
        return value is not None and truthy(value)

    def is_false(self, name: str, default: str = "false") -> bool:
        """Whether the setting is certainly false."""
        value = self.value(name, default)
        return value is not None and not truthy(value)

    def place_of(self, name: str) -> Place:
        """The place of the setting; without it, the place of the component's type."""
        found = self.setting(name)
        return self.place("spec", "type") if found is None else self.on(found.line)

    @property
    def is_read(self) -> bool:
        """Whether apps may subscribe on it: true without a comment `# doctor: publish-only`."""
        return not self.says(PUBLISH_ONLY)

    @property
    def is_published_to(self) -> bool:
        """Whether apps may publish on it: true without a comment `# doctor: read-only`."""
        return not self.says(READ_ONLY)

    @property
    def server(self) -> tuple[str, ...]:
        """The server settings in the file; equal tuples mean the same server."""
        names = ("connectionString", "host", "hostname", "redisHost")
        found = [each for each in map(self.setting, names) if each is not None]
        return tuple(f"{each.value or ''}${each.env}" for each in found)


def _value_of(entry: "Mapping[str, object]") -> str | None:
    value = getattr(entry.get("value"), "value", None)
    if isinstance(value, str):
        return value
    return None if "envRef" in entry or "secretKeyRef" in entry else ""


class Retry(NamedTuple):
    """A retry policy and the resiliency document that defines it."""

    name: str
    resiliency: Resource

    def text(self, key: str) -> str:
        """The policy's value for a key, or an empty string."""
        return self.resiliency.document.root.text("spec", "policies", "retries", self.name, key)

    def place(self, key: str) -> Place:
        """The place of the key, or of the policy."""
        return self.resiliency.place("spec", "policies", "retries", self.name, key)


DEFAULT_RETRIES = (
    "DefaultPubsubComponentInboundRetryPolicy",
    "DefaultComponentInboundRetryPolicy",
    "DefaultComponentRetryPolicy",
    "DefaultRetryPolicy",
)
"""The default policies of a component that is no target; the first that exists applies.

Source: dapr 1.18.2, pkg/resiliency.
"""

T = TypeVar("T", bound=Resource)


def targeted(resiliencies: Iterable[Resource], component: str) -> Resource | None:
    """The resiliency document that targets the component; the last one applies."""
    found = [each for each in resiliencies if each.document.root.at("spec", "targets", "components", component)]
    return found[-1] if found else None


def inbound_retry(resiliencies: Iterable[Resource], component: str) -> Retry | None:
    """The inbound retry policy of a pub/sub component; a target never uses a default policy."""
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
    """The rules that the document's comments silence, with the comments' lines."""
    found = [(_IGNORE.fullmatch(comment.text), comment.line) for comment in document.comments]
    return {match[1]: line for match, line in found if match is not None}


def is_understood(text: str) -> bool:
    """Whether the doctor recognizes the text of a `# doctor:` comment."""
    return text in (PUBLISH_ONLY, READ_ONLY) or _IGNORE.fullmatch(text) is not None
