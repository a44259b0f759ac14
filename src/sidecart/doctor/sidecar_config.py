"""The files of one sidecar, or of several with the same paths; the doctor checks them together."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sidecart.doctor.resources import Component, Resource, Retry, inbound_retry
from sidecart.doctor.starts import Environment, Start
from sidecart.doctor.yaml_files import Document


@dataclass(frozen=True, slots=True)
class SidecarConfig:
    """Documents that are loaded together, how the sidecars start, and their known environment."""

    documents: tuple[Document, ...]
    folders: tuple[Path, ...] = ()
    starts: tuple[Start, ...] = ()
    environment: Environment = field(default_factory=lambda: Environment({}))
    """The environment of sidecars whose start is in no file."""
    sources: tuple[Document, ...] = ()
    """The run file or compose file that defines the starts."""
    app_ids: frozenset[str] = frozenset()
    """The apps that this file starts, also with other paths."""

    def _of(self, kind: str) -> Iterator[Document]:
        return (each for each in self.documents if each.problem is None and each.root.text("kind") == kind)

    @property
    def components(self) -> list[Component]:
        """All components, including those scoped to other apps."""
        return [Component(each) for each in self._of("Component")]

    def pubsubs(self, kind: str) -> list[Component]:
        """The pub/sub components of one kind of server."""
        return [each for each in self.components if each.type == f"pubsub.{kind}"]

    @property
    def resiliencies(self) -> list[Resource]:
        """The resiliency documents that daprd loads: only the first document of a file counts.

        Source: dapr 1.18.2, pkg/resiliency.
        """
        return [Resource(each) for each in self._of("Resiliency") if each.number == 0]

    @property
    def configurations(self) -> list[Resource]:
        """The Configuration documents."""
        return [Resource(each) for each in self._of("Configuration")]

    @property
    def subscriptions(self) -> list[Resource]:
        """The declarative subscriptions."""
        return [Resource(each) for each in self._of("Subscription")]

    def retry_of(self, component: Component) -> Retry | None:
        """The inbound retry policy of a pub/sub component."""
        return inbound_retry(self.resiliencies, component.name)

    def environments(self, component: Component) -> list[tuple[str, Environment]]:
        """The apps that load a component, each with its environment."""
        if not self.starts:
            return [("", self.environment)]
        return [(each.app_id, each.environment) for each in self.starts if component.is_for(each.app_id)]

    def keeps_dead_letters(self, component: Component) -> bool:
        """Whether a subscription on the component has a dead-letter topic."""
        return any(
            each.document.root.text("spec", "pubsubname") == component.name
            and each.document.root.text("spec", "deadLetterTopic")
            for each in self.subscriptions
        )
