"""Declarative subscriptions."""

from collections.abc import Iterator

from cli.doctor.dapr_values import go_true
from cli.doctor.findings import Violation
from cli.doctor.sidecar_config import SidecarConfig


def dead_letter_topic(config: SidecarConfig) -> Iterator[Violation]:
    """The event is published there as it came: id, data, topic; nothing says why."""
    for each in config.subscriptions:
        if each.document.root.text("spec", "deadLetterTopic"):
            what = "a dead-letter topic keeps no reason, needs a reader, and ends with its stream or queue"
            fix = "keep dead letters in the app's own state, with reason and time"
            yield Violation(each.place("spec", "deadLetterTopic"), what, fix)


def bulk_subscribe(config: SidecarConfig) -> Iterator[Violation]:
    """dapr 1.18.2, pkg/runtime/pubsub/default_bulksub.go: `defaultMaxAwaitDurationMs`."""
    for each in config.subscriptions:
        if each.document.root.text("spec", "bulkSubscribe", "enabled") == "true":
            wait = each.document.root.text("spec", "bulkSubscribe", "maxAwaitDurationMs") or "1000"
            what = f"an event waits up to {wait} ms for others before the app sees it"
            yield Violation(each.place("spec", "bulkSubscribe", "enabled"), what, "  enabled: false")


def parsed_by_the_sidecar(config: SidecarConfig) -> Iterator[Violation]:
    """dapr 1.18.2, pkg/runtime/subscription: without a dead-letter topic what the sidecar cannot parse goes back."""
    for each in config.subscriptions:
        root = each.document.root
        if not (go_true(root.text("spec", "metadata", "rawPayload")) or root.text("spec", "deadLetterTopic")):
            what = "a message that is no JSON object never reaches the app: it is lost, or comes again without a pause"
            fix = '  metadata: {rawPayload: "true"}, and decode `data_base64`'
            yield Violation(each.place("spec", "metadata", "rawPayload"), what, fix)


def unknown_pubsub(config: SidecarConfig) -> Iterator[Violation]:
    """A subscription on a component that is not there: the sidecar logs it, and nobody reads."""
    names = {each.name for each in config.components if each.type.startswith("pubsub.")}
    for each in config.subscriptions if names else []:
        name = each.document.root.text("spec", "pubsubname")
        if name not in names:
            what = (
                f"there is no pub/sub component `{name}` here: nobody reads {each.document.root.text('spec', 'topic')}"
            )
            yield Violation(each.place("spec", "pubsubname"), what, f"  pubsubname: {min(names)}")
