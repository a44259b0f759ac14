"""Rules for declarative subscriptions."""

from collections.abc import Iterator

from sidecart.doctor.dapr_values import go_true
from sidecart.doctor.findings import Violation
from sidecart.doctor.sidecar_config import SidecarConfig


def dead_letter_topic(config: SidecarConfig) -> Iterator[Violation]:
    """daprd publishes the event there unchanged (id, data, topic), without a reason."""
    for each in config.subscriptions:
        if each.document.root.text("spec", "deadLetterTopic"):
            what = "a dead-letter topic stores no reason, needs a reader, and ends with its stream or queue"
            fix = "store dead letters in the app's own state, with reason and time"
            yield Violation(each.place("spec", "deadLetterTopic"), what, fix)


def bulk_subscribe(config: SidecarConfig) -> Iterator[Violation]:
    """A bulk subscription delays an event by up to `defaultMaxAwaitDurationMs`.

    Source: dapr 1.18.2, pkg/runtime/pubsub/default_bulksub.go.
    """
    for each in config.subscriptions:
        if each.document.root.text("spec", "bulkSubscribe", "enabled") == "true":
            wait = each.document.root.text("spec", "bulkSubscribe", "maxAwaitDurationMs") or "1000"
            what = f"an event waits up to {wait} ms for others before the app receives it"
            yield Violation(each.place("spec", "bulkSubscribe", "enabled"), what, "  enabled: false")


def parsed_by_the_sidecar(config: SidecarConfig) -> Iterator[Violation]:
    """Without a dead-letter topic the sidecar returns a message that it cannot parse.

    Source: dapr 1.18.2, pkg/runtime/subscription.
    """
    for each in config.subscriptions:
        root = each.document.root
        if not (go_true(root.text("spec", "metadata", "rawPayload")) or root.text("spec", "deadLetterTopic")):
            what = (
                "a message that is not a JSON object never reaches the app: it is lost, or redelivered without a pause"
            )
            fix = '  metadata: {rawPayload: "true"}, and decode `data_base64`'
            yield Violation(each.place("spec", "metadata", "rawPayload"), what, fix)


def unknown_pubsub(config: SidecarConfig) -> Iterator[Violation]:
    """The subscription names a component that does not exist: the sidecar only logs this."""
    names = {each.name for each in config.components if each.type.startswith("pubsub.")}
    for each in config.subscriptions if names else []:
        name = each.document.root.text("spec", "pubsubname")
        if name not in names:
            what = f"no pub/sub component `{name}` exists here: no app reads {each.document.root.text('spec', 'topic')}"
            yield Violation(each.place("spec", "pubsubname"), what, f"  pubsubname: {min(names)}")
