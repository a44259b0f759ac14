"""Rules for Configurations: costs of every call, and name resolution."""

from collections.abc import Iterator

from sidecart.doctor.findings import Violation
from sidecart.doctor.resources import Resource
from sidecart.doctor.sidecar_config import SidecarConfig


def hot_reload(config: SidecarConfig) -> Iterator[Violation]:
    """Hot reload is on by default since dapr 1.18 (pkg/config, defaultFeatures)."""
    sets = [[each] for each in config.configurations]
    if config.starts:  # daprd merges the Configuration files of one start
        sets = [config.configurations] if config.configurations else []
    for configurations in sets:
        if not any(_switches_off(each, "HotReload") for each in configurations):
            what = "hot reload is on: a running sidecar loads component files while you edit them"
            place = configurations[0].place("spec", "features")
            yield Violation(place, what, "  features: [{name: HotReload, enabled: false}]")


def _switches_off(configuration: Resource, feature: str) -> bool:
    features = configuration.document.root.items("spec", "features")
    return any(each.text("name") == feature and each.text("enabled") == "false" for each in features)


def tracing(config: SidecarConfig) -> Iterator[Violation]:
    """A sampling rate above 0 makes every hop create a span."""
    for each in config.configurations:
        rate = each.document.root.text("spec", "tracing", "samplingRate")
        if rate and _above_zero(rate):
            what = f"tracing is on (samplingRate {rate}): every hop creates and exports spans"
            yield Violation(
                each.place("spec", "tracing", "samplingRate"), what, '    samplingRate: "0" (or a small share)'
            )


def _above_zero(rate: str) -> bool:
    try:
        return float(rate) > 0
    except ValueError:
        return True  # daprd uses 1e-4 for text that is not a number


def api_logging(config: SidecarConfig) -> Iterator[Violation]:
    """API logging writes one line for each call."""
    for each in config.configurations:
        path = ("spec", "logging", "apiLogging", "enabled")
        if each.document.root.text(*path) == "true":
            what = "every call to a sidecar writes a line to its log"
            yield Violation(each.place(*path), what, "      enabled: false")
    for start in config.starts:
        if start.is_on("enable-api-logging"):
            what = f"every call to the sidecar of {start.app_id} writes a line to its log"
            yield Violation(start.place("enable-api-logging"), what, "enableApiLogging: false")


def metrics_cardinality(config: SidecarConfig) -> Iterator[Violation]:
    """Increased cardinality is on by default (GetHTTPIncreasedCardinality, dapr 1.18.2)."""
    for each in config.configurations:
        for name in ("metrics", "metric"):
            tree = each.document.root.at("spec", name)
            if tree is None or tree.text("enabled") == "false" or tree.text("http", "increasedCardinality") == "false":
                continue
            what = (
                "metrics have a series for each path: if paths contain ids, the series grow for the sidecar's lifetime"
            )
            yield Violation(each.place("spec", name), what, "    http: {increasedCardinality: false}")


def mdns(config: SidecarConfig) -> Iterator[Violation]:
    """mDNS is the default name resolution."""
    for each in config.configurations:
        if each.document.root.text("spec", "nameResolution", "component") == "mdns":
            yield Violation(each.place("spec", "nameResolution", "component"), MDNS, MDNS_FIX)
    named = any(each.document.root.text("spec", "nameResolution", "component") for each in config.configurations)
    for start in config.starts if not named else []:
        yield Violation(start.place("config"), MDNS, MDNS_FIX)


MDNS = "sidecars find each other by mDNS: many networks block it, and two systems with the same app-ids mix"
MDNS_FIX = "nameResolution with component sqlite (one machine), consul, or kubernetes (any DNS) in a Configuration"


def sqlite_cleanup(config: SidecarConfig) -> Iterator[Violation]:
    """The cleanup runs `DELETE ... WHERE now - last_update < interval`, which deletes live entries.

    Source: components-contrib 1.18.3, nameresolution/sqlite (ADR 4).
    """
    for each in config.configurations:
        resolution = each.document.root.at("spec", "nameResolution")
        if resolution is None or resolution.text("component") != "sqlite":
            continue
        interval = resolution.text("configuration", "cleanupInterval")
        if not interval.startswith("0"):
            what = "the hourly cleanup deletes the names of running sidecars, which then exit"
            yield Violation(
                each.place("spec", "nameResolution", "configuration", "cleanupInterval"), what, "cleanupInterval: 0s"
            )
