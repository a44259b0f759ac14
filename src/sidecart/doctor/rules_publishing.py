"""Rules for several components that publish (ADR 74)."""

from collections.abc import Iterator

from sidecart.chassis.publish_components import is_further
from sidecart.chassis.sidecar_api import PUBSUB
from sidecart.doctor.findings import Severity, Violation
from sidecart.doctor.resources import Component
from sidecart.doctor.sidecar_config import SidecarConfig

OWN = ("clientname",)
"""Settings in lower case that may differ: the broker shows the name of a connection."""


def publishers_disagree(config: SidecarConfig) -> Iterator[Violation]:
    """Apps publish on all of these components in turn, so an event may pass any of them."""
    known = {each.name: each for each in config.components if each.type.startswith("pubsub.")}
    first = known.get(PUBSUB)
    for each in known.values():
        if first is not None and is_further(each.name):
            yield from _differences(first, each)


def _differences(first: Component, further: Component) -> Iterator[Violation]:
    whole = f"as {first.name} has it ({first.place('spec', 'type').file}): apps publish on both in turn"
    if further.type != first.type:
        what = f"{further.name} is {further.type}, and {first.name} is {first.type}: half of the events go elsewhere"
        yield Violation(further.place("spec", "type"), what, f"  type: {first.type}")
        return
    if further.is_read:
        what = f"{further.name} may be read: a component that publishes and reads may lose events"
        yield Violation(further.place("spec", "type"), what, "# doctor: publish-only")
    if sorted(further.scopes) != sorted(first.scopes):
        what = f"the scopes of {further.name} and {first.name} differ: some apps publish on fewer components"
        yield Violation(further.place("scopes"), what, f"scopes {whole}", Severity.WARNING)
    own, others = _settings(further), _settings(first)
    for name in dict.fromkeys([*others, *own]):
        if own.get(name) != others.get(name):
            what = f"{name} of {further.name} and {first.name} differ: the same event is treated in two ways"
            yield Violation(further.place_of(name), what, f"{name} {whole}")


def _settings(component: Component) -> dict[str, tuple[str | None, str]]:
    found = {each.name: (each.value, each.env) for each in component.settings}
    return {name: each for name, each in found.items() if name.lower() not in OWN}
