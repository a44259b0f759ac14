"""Rules for retries that end and policies that do not exist.

Sources: dapr 1.18.2, pkg/resiliency; kit 0.18.2, retry.
"""

from collections.abc import Iterator

from sidecart.doctor.dapr_values import duration_ms, number
from sidecart.doctor.findings import Violation
from sidecart.doctor.resources import Component, Resource, Retry, targeted
from sidecart.doctor.rules_redis import retry_ends
from sidecart.doctor.sidecar_config import SidecarConfig

FOREVER = "{policy: constant, duration: 1s, maxRetries: -1}"


def _retries(config: SidecarConfig) -> Iterator[tuple[Component, Retry]]:
    """The pub/sub components that lose an event when its retries end, with their policies."""
    for each in config.components:
        retry = config.retry_of(each) if each.is_read and retry_ends(config, each) else None
        if retry is not None:
            yield each, retry


def exponential_ends(config: SidecarConfig) -> Iterator[Violation]:
    """backoff's MaxElapsedTime is 15 minutes; no key of a Resiliency changes it."""
    for component, retry in _retries(config):
        if retry.text("policy").lower() == "exponential":
            what = "an exponential policy ends after 15 minutes, even with maxRetries -1: a longer outage loses the "
            what += f"events of {component.name}"
            yield Violation(retry.place("policy"), what, f"{retry.name}: {FOREVER}")


def budget_ends(config: SidecarConfig) -> Iterator[Violation]:
    """After the last retry the sidecar acknowledges the event."""
    for component, retry in _retries(config):
        most = number(retry.text("maxRetries"))
        if most is not None:
            what = f"after {most} retries an event of {component.name} is acknowledged and lost"
            yield Violation(retry.place("maxRetries"), what, "maxRetries: -1")


def some_left_out(config: SidecarConfig) -> Iterator[Violation]:
    """A status that `matching` does not list is permanent (`backoff.Permanent`)."""
    for component, retry in _retries(config):
        spec = retry.resiliency.document.root.at("spec", "policies", "retries", retry.name, "matching")
        if spec is not None:
            what = f"a status that `matching` does not list is not retried: that event of {component.name} is lost"
            yield Violation(retry.place("matching"), what, "remove `matching` from an inbound policy")


def circuit_breaker(config: SidecarConfig) -> Iterator[Violation]:
    """The error of an open circuit breaker is permanent and ends the retry."""
    for each in config.components:
        target = targeted(config.resiliencies, each.name) if retry_ends(config, each) and each.is_read else None
        path = ("spec", "targets", "components", each.name, "inbound", "circuitBreaker")
        if target is not None and target.document.root.text(*path):
            what = f"an open circuit breaker ends the retries: while it is open, every event of {each.name} is lost"
            yield Violation(target.place(*path), what, "remove circuitBreaker from inbound")


def _inbound_names(resiliency: Resource) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The retry policies that component targets name, with the keys that name them."""
    for component, tree in resiliency.document.root.entries("spec", "targets", "components").items():
        for direction in ("inbound", "outbound"):
            if name := tree.text(direction, "retry"):
                yield name, ("spec", "targets", "components", component, direction, "retry")


def unknown_policy(config: SidecarConfig) -> Iterator[Violation]:
    """daprd accepts the name of a policy that does not exist, and retries nothing."""
    known = {name for each in config.resiliencies for name in each.document.root.entries("spec", "policies", "retries")}
    for each in config.resiliencies:
        for name, path in _inbound_names(each):
            if name not in known:
                what = f"the retry policy `{name}` does not exist: daprd retries nothing and reports no error"
                yield Violation(each.place(*path), what, f"policies.retries.{name}: {FOREVER}")


def unreadable(config: SidecarConfig) -> Iterator[Violation]:
    """daprd logs an error at an unreadable value and ignores the rest of the document."""
    for each in config.resiliencies:
        for name, tree in each.document.root.entries("spec", "policies", "retries").items():
            path = ("spec", "policies", "retries", name)
            policy = tree.text("policy")
            if policy and policy.lower() not in ("constant", "exponential"):
                what = f"the policy `{policy}` does not exist: daprd ignores the document, and nothing is retried"
                yield Violation(each.place(*path, "policy"), what, "policy: constant")
            for key in ("duration", "maxInterval"):
                if tree.text(key) and duration_ms(tree.text(key)) is None:
                    what = f"`{tree.text(key)}` is not a duration: daprd ignores the document, and nothing is retried"
                    yield Violation(each.place(*path, key), what, f"{key}: 1s")


def unknown_component(config: SidecarConfig) -> Iterator[Violation]:
    """The target names a component that does not exist, as after an incomplete rename."""
    names = {each.name for each in config.components}
    for each in config.resiliencies if names else []:
        for name in each.document.root.entries("spec", "targets", "components"):
            if name not in names:
                what = f"no component `{name}` is defined here: this target has no effect"
                fix = f"one of {', '.join(sorted(names))}"
                yield Violation(each.place("spec", "targets", "components", name), what, fix)
