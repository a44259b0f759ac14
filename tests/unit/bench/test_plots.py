"""Tests of the plots: titles and labels name the drawn data."""

from pathlib import Path

from bench.latency_breakdown import Segment
from bench.plots import draw, draw_latency_breakdown
from tests.unit.bench.test_report import result


def test_a_broker_has_a_plot_that_names_both_systems(tmp_path: Path) -> None:
    """The labels are SVG text, so that they are searchable and accessible to screen readers."""
    assert ["redis.svg", "rabbitmq.svg"] == draw(tmp_path, [result(), result("rabbitmq")])

    drawn = (tmp_path / "rabbitmq.svg").read_text()
    for words in ("rabbitmq: sidecart and its baseline", "medians of 5 rounds", "baseline, completed", "sidecart, p99"):
        assert words in drawn


def test_the_segments_are_drawn_with_their_times(tmp_path: Path) -> None:
    """Each broker has its own axes, with the total in the title."""
    segments = [Segment("order: save", 1.25, 0.5), Segment("gateway to caller", 0.25)]

    draw_latency_breakdown(tmp_path / "latency-breakdown.svg", {"redis": segments, "rabbitmq": segments})

    drawn = (tmp_path / "latency-breakdown.svg").read_text()
    assert "rabbitmq: one held order alone, 1.5 ms" in drawn
    assert "order: save  1.25" in drawn


def test_the_same_results_make_the_same_file(tmp_path: Path) -> None:
    """Drawing the same results twice gives identical bytes."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        draw(tmp_path / name, [result()])

    assert (tmp_path / "a" / "redis.svg").read_bytes() == (tmp_path / "b" / "redis.svg").read_bytes()
