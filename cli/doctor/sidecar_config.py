"""What one sidecar, or several that are told the same, reads: the unit in which the doctor judges."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cli.doctor.resources import Component, Resource, Retry, inbound_retry
from cli.doctor.starts import Environment, Start
from cli.doctor.yaml_files import Document


@dataclass(frozen=True, slots=True)
class SidecarConfig:
    """The documents that are read together, how the sidecars are started, and what is known of their environment."""

    documents: tuple[Document, ...]
    folders: tuple[Path, ...] = ()
    starts: tuple[Start, ...] = ()
    environment: Environment = field(default_factory=lambda: Environment({}))
    """Of sidecars whose start is not seen."""
    sources: tuple[Document, ...] = ()
    """The run file or compose file that the starts are from."""

    def _of(self, kind: str) -> Iterator[Document]:
        return (each for each in self.documents if each.problem is None and each.root.text("kind") == kind)

    @property
    def components(self) -> list[Component]:
        """The components, those of other apps too."""
        return [Component(each) for each in self._of("Component")]

    def pubsubs(self, kind: str) -> list[Component]:
        """The pub/sub components of a kind of server."""
        return [each for each in self.components if each.type == f"pubsub.{kind}"]

    @property
    def resiliencies(self) -> list[Resource]:
        """Those that daprd reads: only the first document of a file counts (pkg/resiliency, dapr 1.18.2)."""
        return [Resource(each) for each in self._of("Resiliency") if each.number == 0]

    @property
    def configurations(self) -> list[Resource]:
        """Configurations."""
        return [Resource(each) for each in self._of("Configuration")]

    @property
    def subscriptions(self) -> list[Resource]:
        """Declarative subscriptions."""
        return [Resource(each) for each in self._of("Subscription")]

    def retry_of(self, component: Component) -> Retry | None:
        """The inbound retry policy of a pub/sub component."""
        return inbound_retry(self.resiliencies, component.name)

    def environments(self, component: Component) -> list[tuple[str, Environment]]:
        """Who takes a component, and in which environment."""
        if not self.starts:
            return [("", self.environment)]
        return [(each.app_id, each.environment) for each in self.starts if component.is_for(each.app_id)]

    def keeps_dead_letters(self, component: Component) -> bool:
        """Whether a subscription on it has a topic for what was not taken."""
        return any(
            each.document.root.text("spec", "pubsubname") == component.name
            and each.document.root.text("spec", "deadLetterTopic")
            for each in self.subscriptions
        )
