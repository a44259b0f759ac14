"""What the broker and the store took of an order's way, by the sidecars' own metrics.

A sidecar measures each call of a component: from handing it over to the broker's or the store's answer. For an event
that is the time until the broker has it; when its reader has it differs from that by less than a sidecar takes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from aiohttp import ClientSession

from cli.ports import free_port
from cli.shop import Options, Shop

EGRESS, STATE = "dapr_component_pubsub_egress_latencies", "dapr_component_state_latencies"
METRICS = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata:
  name: metrics
spec:
  metrics:
    enabled: true
"""


@dataclass(frozen=True, slots=True)
class Series:
    """One metric of one app's sidecar: a histogram of milliseconds."""

    app_id: str
    metric: str
    label: str
    value: str

    def read(self, text: str) -> tuple[float, int]:
        """The sum and the number of what was measured so far, in what a sidecar says of itself."""
        found = {}
        for what in ("sum", "count"):
            values = re.findall(
                rf'^{self.metric}_{what}{{[^}}\n]*\b{self.label}="{self.value}"[^}}\n]*}} (\S+)$', text, re.MULTILINE
            )
            found[what] = sum(map(float, values))
        return found["sum"], round(found["count"])


class Metered(Shop):
    """A shop whose sidecars tell what they measure."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        super().__init__(options, say)
        self.metrics_ports: dict[str, int] = {}
        """By app."""
        self._configuration = options.folder / "metrics.yaml"
        self._configuration.write_text(METRICS, encoding="utf-8")

    def sidecar_flags(self, app_id: str) -> Sequence[str]:
        """With metrics, on a port of this sidecar's own."""
        port = self.metrics_ports.setdefault(app_id, free_port())
        listening = ("--metrics-listen-address", "127.0.0.1", "--metrics-port", str(port))
        # A later configuration goes before an earlier one; ours says that there are no metrics.
        return ("--enable-metrics=true", *listening, "--config", str(self._configuration))


class ComponentTimes:
    """Reads some series; each reading says what came since the one before."""

    def __init__(self, session: ClientSession, ports: Mapping[str, int], series: Mapping[str, Series]) -> None:
        self._session = session
        self._ports = ports
        self._series = series
        self._before: dict[str, tuple[float, int]] = dict.fromkeys(series, (0.0, 0))

    async def since(self) -> dict[str, float]:
        """Milliseconds by name, of those series in which exactly one call was measured."""
        texts = {}
        for app_id in {each.app_id for each in self._series.values()}:
            async with self._session.get(f"http://127.0.0.1:{self._ports[app_id]}/") as answer:
                texts[app_id] = await answer.text()
        now = {name: each.read(texts[each.app_id]) for name, each in self._series.items()}
        before, self._before = self._before, now
        return {name: now[name][0] - before[name][0] for name in now if now[name][1] - before[name][1] == 1}
