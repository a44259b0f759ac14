"""The plots of a run, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib
import matplotlib.pyplot as plt

from bench.measure import Result, at_level, completed_per_second, held_per_second, open_at, p
from bench.systems import BASELINE, OURS

if TYPE_CHECKING:
    from bench.latency_breakdown import Segment

COLORS = {OURS: "#0b5fa5", BASELINE: "#c8641e"}
PERCENTS = (50, 90, 99)

SIDECAR_COLOR = "#9dbfdd"

matplotlib.rcParams.update(
    {"svg.hashsalt": "sidecart", "svg.fonttype": "none", "font.size": 10, "axes.spines.top": False}
)


def draw(folder: Path, results: Sequence[Result]) -> list[str]:
    """Write the plots into the folder; return their file names."""
    names = []
    for result in results:
        figure, axes = plt.subplots(1, 3, figsize=(13, 4))
        _throughput(axes[0], result)
        _latency(axes[1], result)
        _open(axes[2], result)
        figure.suptitle(
            f"{result.broker}: sidecart and its baseline without sidecars, medians of {result.plan.rounds} rounds"
        )
        figure.tight_layout()
        name = f"{result.broker}.svg"
        figure.savefig(folder / name, metadata={"Date": None})
        plt.close(figure)
        names.append(name)
    return names


def _throughput(axes: matplotlib.axes.Axes, result: Result) -> None:
    levels = list(result.plan.levels)
    for name, color in COLORS.items():
        measured = result.systems[name]
        held = [measured.median(at_level(level, held_per_second)) for level in levels]
        done = [measured.median(at_level(level, completed_per_second)) for level in levels]
        axes.plot(levels, held, "o-", color=color, label=f"{name}, held")
        axes.plot(levels, done, "s--", color=color, label=f"{name}, completed")
    axes.set(xscale="log", xlabel="orders held at once", ylabel="orders a second", ylim=(0, None))
    axes.set_xticks(levels, [str(level) for level in levels])
    axes.legend(frameon=False)


def _latency(axes: matplotlib.axes.Axes, result: Result) -> None:
    for name, color in COLORS.items():
        values = sorted(each for turn in result.systems[name].turns for each in turn.alone.milliseconds)
        shares = [100 * (number + 1) / len(values) for number in range(len(values))]
        axes.plot(values, shares, color=color, label=name)
    axes.set(xscale="log", xlabel="one held order alone, ms", ylabel="percent of the orders", ylim=(0, 100))
    axes.legend(frameon=False)


def _open(axes: matplotlib.axes.Axes, result: Result) -> None:
    shares = list(result.plan.shares)
    for name, color in COLORS.items():
        measured = result.systems[name]
        for percent, style in zip(PERCENTS, ("-", "--", ":"), strict=True):
            values = [measured.median(p(percent, open_at(share))) for share in shares]
            axes.plot(shares, values, "o" + style, color=color, label=f"{name}, p{percent}")
    axes.set(yscale="log", xlabel="rate, percent of its own saturation", ylabel="held order, ms")
    axes.set_xticks(shares)
    axes.legend(frameon=False)


def draw_latency_breakdown(file: Path, found: Mapping[str, Sequence[Segment]]) -> None:
    """Draw one held order as a waterfall for each broker; the sidecars' share is light."""
    figure, axes = plt.subplots(len(found), 1, figsize=(9, 3.4 * len(found)), squeeze=False, sharex=True)
    for axis, (broker, segments) in zip(axes[:, 0], found.items(), strict=True):
        start = 0.0
        for row, segment in enumerate(segments):
            own = segment.milliseconds - segment.sidecar_milliseconds
            axis.barh(row, own, left=start, color=COLORS[OURS])
            axis.barh(row, segment.sidecar_milliseconds, left=start + own, color=SIDECAR_COLOR)
            start += segment.milliseconds
        axis.set_yticks(range(len(segments)), [f"{segment.name}  {segment.milliseconds:.2f}" for segment in segments])
        axis.invert_yaxis()
        axis.set(title=f"{broker}: one held order alone, {start:.1f} ms", xlabel="ms")
    axes[0, 0].barh(0, 0, color=COLORS[OURS], label="apps, broker, store")
    axes[0, 0].barh(0, 0, color=SIDECAR_COLOR, label="the sidecars' share")
    axes[0, 0].legend(frameon=False)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})
    plt.close(figure)
