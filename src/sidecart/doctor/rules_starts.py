"""Rules for how sidecars are started: reachability, tokens and health checks."""

from collections.abc import Iterator

from sidecart.doctor.findings import Violation
from sidecart.doctor.sidecar_config import SidecarConfig
from sidecart.doctor.starts import Start

LOGIN_SETTINGS = ("redispassword", "connectionstring")
INTERVAL_SECONDS = 5
TIMEOUT_MS = 500
"""daprd's defaults (dapr 1.18.2, pkg/config/app_connection.go)."""


def _fix(start: Start, run_file: str, flag: str) -> str:
    return f"- {flag}" if start.is_compose else run_file


def listens_everywhere(config: SidecarConfig) -> Iterator[Violation]:
    """daprd listens everywhere by default (pkg/runtime/config.go, DefaultAPIListenAddress)."""
    for start in config.starts:
        if start.is_reachable:
            what = f"the sidecar of {start.app_id} listens on every interface: any host that reaches it can publish"
            fix = "publish no port of a sidecar" if start.is_compose else "apiListenAddresses: 127.0.0.1"
            yield Violation(start.place("dapr-listen-addresses"), what, fix)


def no_api_token(config: SidecarConfig) -> Iterator[Violation]:
    """DAPR_API_TOKEN authenticates the sidecar's callers, APP_API_TOKEN the sidecar to its app."""
    for start in config.starts:
        missing = [name for name in ("DAPR_API_TOKEN", "APP_API_TOKEN") if start.environment.lacks(name)]
        if missing:
            what = (
                f"{' and '.join(missing)} not set for the sidecar of {start.app_id}: any program that reaches a port "
            )
            what += "can publish or forge events"
            yield Violation(start.place(), what, "DAPR_API_TOKEN=... APP_API_TOKEN=... in the sidecar's environment")


def health_check_on_redis(config: SidecarConfig) -> Iterator[Violation]:
    """A cancelled `XREADGROUP ... BLOCK 0` stays open at the server.

    Source: components-contrib 1.18.3, pubsub/redis/redis.go.
    """
    for start in config.starts:
        read = [each for each in config.pubsubs("redis") if each.is_read and each.is_for(start.app_id)]
        if read and start.is_on("enable-app-health-check"):
            what = f"the sidecar of {start.app_id} ends its subscriptions while its app is unhealthy, but leaves their "
            what += "reads open: each takes the next event of its topic, redelivered only after processingTimeout"
            fix = "remove it: an endless retry offers the events until the app is healthy"
            yield Violation(start.place("enable-app-health-check"), what, fix)


def probe_too_slow(config: SidecarConfig) -> Iterator[Violation]:
    """daprd rejects a probe timeout above the probe interval (pkg/runtime/config.go)."""
    for start in config.starts:
        interval_ms = 1_000 * (start.number("app-health-probe-interval", INTERVAL_SECONDS) or INTERVAL_SECONDS)
        timeout_ms = start.number("app-health-probe-timeout", TIMEOUT_MS) or TIMEOUT_MS
        if timeout_ms > interval_ms:
            what = (
                f"the probe timeout, {timeout_ms} ms, exceeds the {interval_ms} ms interval: the sidecar does not start"
            )
            yield Violation(
                start.place("app-health-probe-timeout", "app-health-probe-interval"),
                what,
                _fix(start, "appHealthProbeTimeout: 900", f"--app-health-probe-timeout={interval_ms * 9 // 10}"),
            )


def login_shared(config: SidecarConfig) -> Iterator[Violation]:
    """Sidecars in containers can have a login each; `dapr run` gives all one environment."""
    starts = {start.app_id: start for start in config.starts if start.is_compose}
    reported: set[str] = set()
    for component in config.components:
        for setting in component.settings:
            if not setting.env or setting.env in reported or setting.name.lower() not in LOGIN_SETTINGS:
                continue
            first: dict[str, str] = {}
            for app_id, env in config.environments(component):
                value = env.variables.get(setting.env, "")
                is_login = "@" in value or (value != "" and setting.name.lower() == "redispassword")
                if not is_login or app_id not in starts or first.setdefault(value, app_id) == app_id:
                    continue
                reported.add(setting.env)
                what = f"{app_id} and {first[value]} have one {setting.env}: each reaches what the other has"
                yield Violation(
                    starts[app_id].place(),
                    what,
                    "a login per app (tye-or-compose/redis.acl, tye-or-compose/rabbitmq.json)",
                )
                break
