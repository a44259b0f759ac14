"""`sidecart run`: run the system until Ctrl-C or SIGTERM, and restart crashed processes."""

import argparse
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from sidecart.chassis.telemetry.repeats import Repeats
from sidecart.cli import component_folder
from sidecart.cli.arguments import add_servers, chosen_servers
from sidecart.launcher import runfile
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import Interrupted, LaunchError
from sidecart.launcher.lifecycle.settings import external_servers, settings_from_environment
from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import Options, Report, System
from sidecart.launcher.project import declared_text, home
from sidecart.launcher.topology import app_of, metrics_of

EXAMPLE_CALLS = "example_calls"
"""The entry of `[tool.sidecart]` in pyproject.toml: calls to try; {url} is the gateway's URL."""
WATCH_SECONDS = 0.3
REPORTED_FIRST, REPORT_SECONDS = 5, 600.0
"""Thresholds for repeated reports: a process that crashes every minute must not flood the terminal.

After REPORTED_FIRST equal lines, the throttle prints a count every REPORT_SECONDS.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `sidecart run`."""
    add_servers(parser)
    parser.epilog = (
        "The folder of --components has the components that the apps use, with their scopes and secrets. Its own "
        "resiliency policies override the project's for the components that they name. The project's other policies "
        "and the subscriptions of the apps stay (docs/component-folder.md)."
    )
    parser.set_defaults(broker=None, store=None)  # tells a choice from the default
    parser.add_argument(
        "--port", type=_port, default=os.environ.get("PORT", "8000"), help="the gateway's port (PORT; default 8000)"
    )
    parser.add_argument(
        "--gateways", type=int, default=1, metavar="N", help="the number of gateways behind one address (default 1)"
    )
    parser.add_argument(
        "--replicas",
        type=_replicas,
        action="append",
        default=[],
        metavar="SERVICE=N",
        help="the number of replicas of a service (default one of each)",
    )
    parser.add_argument(
        "--components",
        type=Path,
        metavar="FOLDER",
        help="use the components in this folder, whose servers run already, instead of --broker and --store",
    )
    parser.add_argument("--no-monitor", dest="monitor", action="store_false", help="do not start the live page")
    parser.add_argument("--reload", action="store_true", help="restart an app when its code changes (make dev)")
    parser.set_defaults(command=run)


def _replicas(text: str) -> tuple[str, int]:
    name, _, number = text.partition("=")
    if not name or not number.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is not SERVICE=NUMBER")
    return name, int(number)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is not a port (1 to 65535)")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Start the system, print how to use it, supervise it, stop it.

    Return 0 after a requested stop, and 1 if the supervisor had to give up.
    """
    deadline = stopped_by_signals()
    system = System(system_options(options, home(), options.port), say, deadline)
    if system.options.components is not None:
        component_folder.check(system, say)
    with runfile.held(system.state.starting()):
        try:
            with system:
                system.state.described().write()
                _write_targets(system)
                say(_welcome(system))
                return _watch(system, deadline, options.reload)
        except Interrupted:
            say("stopped before the system was ready")
            return 0
        finally:
            if system.started:
                say("all processes are stopped")


def system_options(
    options: argparse.Namespace, folder: Path, port: int | None, without: frozenset[str] = frozenset()
) -> Options:
    """Return the options of a system that the command line and the environment select."""
    components = getattr(options, "components", None)
    if components is not None and (options.broker or options.store):
        raise LaunchError("--components names the servers: leave out --broker and --store")
    broker, store = chosen_servers(options)
    return Options(
        broker=broker,
        store=store,
        components=None if components is None else components.resolve(),
        port=port,
        folder=folder,
        without=without,
        replaced=dict(options.replaced),
        external=external_servers(),
        settings=settings_from_environment(),
        gateways=getattr(options, "gateways", 1),
        replicas=dict(getattr(options, "replicas", ())),
        monitor=getattr(options, "monitor", False),
    )


def stopped_by_signals() -> Deadline:
    """Return a deadline that SIGINT, SIGTERM and SIGHUP stop.

    The handlers only set a flag, so no line of code is interrupted.
    """
    deadline = Deadline()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: deadline.stop())
    return deadline


def say(text: str) -> None:
    """Print a line and flush it, so that it appears at once in a pipe too."""
    print(text, flush=True)


def _write_targets(system: System) -> None:
    """Write the addresses of the apps' metrics for Prometheus (docs/grafana/prometheus.yml).

    The ports change at each start.
    """
    # a replacement may have no metrics
    names = [name for name in system.replicas if app_of(name) not in system.options.replaced]
    targets = [
        {"targets": [f"127.0.0.1:{system.ports[metrics_of(name)]}"], "labels": {"app": app_of(name), "replica": name}}
        for name in names
    ]
    (home() / "run" / "metrics.json").write_text(json.dumps(targets, indent=2), encoding="utf-8")


class ReportThrottle:
    """Prints the supervisor's reports; counts repetitions of a line and prints the count."""

    def __init__(self, say: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._repeats: Repeats[str] = Repeats(REPORTED_FIRST, REPORT_SECONDS)

    def __call__(self, text: str) -> None:
        """Print or count a line."""
        self.look()
        if self._repeats.is_shown(text, self._clock()):
            self._say(text)

    def look(self) -> None:
        """Print the counts that are due."""
        for text, times in self._repeats.over(self._clock()):
            self._say(f"{text} ({times:,} more times within {REPORT_SECONDS / 60:.0f} min)")


def _watch(system: System, deadline: Deadline, reload: bool) -> int:
    throttle = ReportThrottle(say)
    supervisor = Supervisor(system, throttle, lambda: system.state.described().write())
    looks = [supervisor.look, throttle.look]
    if reload:
        from sidecart.launcher.lifecycle.reload import reloader  # other starts need no file watcher

        looks.append(reloader(system, supervisor, say).look)
    while True:
        try:
            for look in looks:
                look()
            deadline.pause(WATCH_SECONDS)
        except Interrupted:
            say("stopping: gateway, sidecars, services, servers")
            return 0
        except LaunchError as error:
            say(f"{error}\nstopping the rest")
            return 1


def _welcome(system: System) -> str:
    mails, page = system.state.mails_at, system.monitor_url
    lines = [
        f"\nThe system is open at {system.url}  (API: {system.url}/docs)",
        *([f"The live page is at {page}"] if page else []),
        *([f"Its mails are at    {mails}"] if mails else []),
        f"Its logs are in     {system.logs}\n",
    ]
    if text := example_calls(system.url):
        lines += ["Try it, in another terminal:\n", text]
    return "\n".join([*lines, "Ctrl-C stops everything."])


def example_calls(url: str) -> str:
    """Return the calls that the project's file shows to new clients, with this address."""
    return declared_text(EXAMPLE_CALLS).replace("{url}", url)
