"""Configurations: what costs on every call, how sidecars find each other, who may call whom."""

from collections.abc import Iterator

from cli.doctor.dapr_values import truthy
from cli.doctor.findings import Violation
from cli.doctor.resources import Resource
from cli.doctor.sidecar_config import SidecarConfig


def hot_reload(config: SidecarConfig) -> Iterator[Violation]:
    """On by default since dapr 1.18 (pkg/config, defaultFeatures)."""
    sets = [[each] for each in config.configurations]
    if config.starts:  # several files are laid over each other there
        sets = [config.configurations] if config.configurations else []
    for configurations in sets:
        if not any(_switches_off(each, "HotReload") for each in configurations):
            what = "hot reload is on: a sidecar takes up a component that is half edited while it runs"
            place = configurations[0].place("spec", "features")
            yield Violation(place, what, "  features: [{name: HotReload, enabled: false}]")


def _switches_off(configuration: Resource, feature: str) -> bool:
    features = configuration.document.root.items("spec", "features")
    return any(each.text("name") == feature and each.text("enabled") == "false" for each in features)


def tracing(config: SidecarConfig) -> Iterator[Violation]:
    """A span on every hop."""
    for each in config.configurations:
        rate = each.document.root.text("spec", "tracing", "samplingRate")
        if rate and _above_zero(rate):
            what = f"tracing is on (samplingRate {rate}): spans are made and sent on every hop"
            yield Violation(
                each.place("spec", "tracing", "samplingRate"), what, '    samplingRate: "0" (or a small share)'
            )


def _above_zero(rate: str) -> bool:
    try:
        return float(rate) > 0
    except ValueError:
        return True  # daprd takes 1e-4 for what is no number


def api_logging(config: SidecarConfig) -> Iterator[Violation]:
    """One line a call."""
    for each in config.configurations:
        path = ("spec", "logging", "apiLogging", "enabled")
        if each.document.root.text(*path) == "true":
            what = "every call to a sidecar writes a line into its log"
            yield Violation(each.place(*path), what, "      enabled: false")
    for start in config.starts:
        if start.is_on("enable-api-logging"):
            what = f"every call to the sidecar of {start.app_id} writes a line into its log"
            yield Violation(start.place("enable-api-logging"), what, "enableApiLogging: false")


def metrics_cardinality(config: SidecarConfig) -> Iterator[Violation]:
    """On unless it is switched off (GetHTTPIncreasedCardinality, dapr 1.18.2)."""
    for each in config.configurations:
        for name in ("metrics", "metric"):
            tree = each.document.root.at("spec", name)
            if tree is None or tree.text("enabled") == "false" or tree.text("http", "increasedCardinality") == "false":
                continue
            what = "metrics have a series for each path: with ids in paths they grow for as long as the sidecar runs"
            yield Violation(each.place("spec", name), what, "    http: {increasedCardinality: false}")


def mdns(config: SidecarConfig) -> Iterator[Violation]:
    """The default where nothing is said."""
    for each in config.configurations:
        if each.document.root.text("spec", "nameResolution", "component") == "mdns":
            yield Violation(each.place("spec", "nameResolution", "component"), MDNS, MDNS_FIX)
    named = any(each.document.root.text("spec", "nameResolution", "component") for each in config.configurations)
    for start in config.starts if not named else []:
        yield Violation(start.place("config"), MDNS, MDNS_FIX)


MDNS = "sidecars find each other by mDNS: it fails on many networks, and two systems with the same app-ids mix"
MDNS_FIX = "nameResolution with component sqlite (one machine), consul, or kubernetes (any DNS) in a Configuration"


def sqlite_cleanup(config: SidecarConfig) -> Iterator[Violation]:
    """`DELETE ... WHERE now - last_update < interval`: components-contrib 1.18.3, nameresolution/sqlite (ADR 4)."""
    for each in config.configurations:
        resolution = each.document.root.at("spec", "nameResolution")
        if resolution is None or resolution.text("component") != "sqlite":
            continue
        interval = resolution.text("configuration", "cleanupInterval")
        if not interval.startswith("0"):
            what = "the hourly cleanup deletes the names of those that are alive: their sidecars end themselves"
            yield Violation(
                each.place("spec", "nameResolution", "configuration", "cleanupInterval"), what, "cleanupInterval: 0s"
            )


def access_control(config: SidecarConfig) -> Iterator[Violation]:
    """The caller's identity is that of its certificate."""
    for each in config.configurations:
        spec = each.document.root.at("spec", "accessControl")
        secured = truthy(each.document.root.text("spec", "mtls", "enabled")) or any(
            start.is_on("enable-mtls") for start in config.starts
        )
        if spec is not None and spec.items("policies") and not secured:
            what = "without mTLS a caller has no identity: these policies tell nobody from anybody"
            fix = "run sentry and start sidecars with --enable-mtls; or rely on networks and API tokens"
            yield Violation(each.place("spec", "accessControl"), what, fix)
