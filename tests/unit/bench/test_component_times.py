"""Reading a sidecar's own metrics."""

from bench.component_times import EGRESS, Series

TEXT = """\
# TYPE dapr_component_pubsub_egress_latencies histogram
dapr_component_pubsub_egress_latencies_bucket{app_id="gateway",component="pubsub",topic="A",le="1"} 2
dapr_component_pubsub_egress_latencies_sum{app_id="gateway",component="pubsub",success="true",topic="A"} 1.25
dapr_component_pubsub_egress_latencies_count{app_id="gateway",component="pubsub",success="true",topic="A"} 3
dapr_component_pubsub_egress_latencies_sum{app_id="gateway",component="pubsub",success="false",topic="A"} 7.5
dapr_component_pubsub_egress_latencies_count{app_id="gateway",component="pubsub",success="false",topic="A"} 1
dapr_component_pubsub_egress_latencies_sum{app_id="gateway",component="pubsub",success="true",topic="AB"} 100
dapr_component_pubsub_egress_latencies_count{app_id="gateway",component="pubsub",success="true",topic="AB"} 100
"""


def test_all_lines_with_the_label_count() -> None:
    """And no bucket, nor any other topic that begins alike."""
    assert (8.75, 4) == Series("gateway", EGRESS, "topic", "A").read(TEXT)


def test_what_was_not_measured_yet_is_nothing() -> None:
    """A topic to which nothing was published has no line."""
    assert (0.0, 0) == Series("gateway", EGRESS, "topic", "C").read(TEXT)
