"""`sidecart run`: run the system until Ctrl-C or SIGTERM, and restart crashed processes."""

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path

import click

from sidecart.chassis.telemetry.repeats import Repeats
from sidecart.cli import component_folder
from sidecart.cli.arguments import PATH, Replicas, broker_option, store_option, with_option
from sidecart.launcher import runfile
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import Interrupted, LaunchError
from sidecart.launcher.lifecycle.settings import app_logins, external_servers, settings_from_environment
from sidecart.launcher.lifecycle.supervisor import Supervisor
from sidecart.launcher.lifecycle.system import Options, Report, System
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.project import declared_text, home
from sidecart.launcher.topology import app_of, metrics_of

EXAMPLE_CALLS = "example_calls"
"""The entry of `[tool.sidecart]` in pyproject.toml: calls to try; {url} is the gateway's URL."""
AUTH_IS_OFF = "\nAUTH=off: the gateway needs no token. Every program on this machine can act as any caller."
OTHER_ISSUER = "Each call needs an access token of {issuer} (docs/how-to/tokens.md).\n"
WATCH_SECONDS = 0.3
REPORTED_FIRST, REPORT_SECONDS = 5, 600.0
"""Thresholds for repeated reports: a process that crashes every minute must not flood the terminal.

After REPORTED_FIRST equal lines, the throttle prints a count every REPORT_SECONDS.
"""


@click.command(
    "run",
    epilog="The folder of --components has the components that the apps use, with their scopes and secrets. Its own "
    "resiliency policies override the project's for the components that they name. The project's other policies "
    "and the subscriptions of the apps stay (docs/how-to/component-folder.md).",
)
@broker_option
@store_option
@with_option
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    envvar="PORT",
    show_envvar=True,
    default=8000,
    metavar="PORT",
    help="the gateway's port",
)
@click.option("--gateways", type=int, default=1, metavar="N", help="the number of gateways behind one address")
@click.option(
    "--replicas",
    type=Replicas(),
    multiple=True,
    show_default="1 of each",
    help="the number of replicas of a service; repeatable",
)
@click.option(
    "--components",
    type=PATH,
    metavar="FOLDER",
    help="use the components in this folder, whose servers run already, instead of --broker and --store",
)
@click.option("--no-monitor", is_flag=True, help="do not start the live page")
@click.option("--reload", is_flag=True, help="restart an app when its code changes (make dev)")
@click.pass_context
def command(
    context: click.Context,
    broker: str,
    store: str,
    replaced: tuple[tuple[str, Path], ...],
    port: int,
    gateways: int,
    replicas: tuple[tuple[str, int], ...],
    components: Path | None,
    no_monitor: bool,
    reload: bool,
) -> int:
    """Run the system until Ctrl-C, and restart crashed processes.

    The exit code is 1 if the launcher gave up, because a process ended again and again.
    """
    sources = [context.get_parameter_source(name) for name in ("broker", "store")]
    # the environment's BROKER and STORE are only defaults
    if components is not None and click.ParameterSource.COMMANDLINE in sources:
        raise LaunchError("--components names the servers: leave out --broker and --store")
    return run(
        Options(
            broker,
            store,
            port,
            components=None if components is None else components.resolve(),
            folder=home(),
            replaced=dict(replaced),
            external=external_servers(),
            app_logins=app_logins(),
            settings=settings_from_environment(),
            gateways=gateways,
            replicas=dict(replicas),
            monitor=not no_monitor,
        ),
        reload,
    )


def run(options: Options, reload: bool) -> int:
    """Start the system, print how to use it, supervise it, stop it.

    Return 0 after a requested stop, and 1 if the supervisor had to give up.
    """
    deadline = stopped_by_signals()
    system = System(options, say, deadline)
    if options.components is not None:
        component_folder.check(system, say)
    if options.external and not options.app_logins:
        say("the apps share one login at your servers: `sidecart credentials` prints how to create one per app")
    with runfile.held(system.state.starting()):
        try:
            with system:
                system.state.described().write()
                _write_targets(system)
                say(_welcome(system))
                return _watch(system, deadline, reload)
        except Interrupted:
            say("stopped before the system was ready")
            return 0
        finally:
            if system.started:
                say("all processes are stopped")


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
    """Write the addresses of all metrics for Prometheus (docs/grafana/prometheus.yml).

    The ports change at each start.
    """
    # a replacement may have no metrics
    names = [name for name in system.replicas if app_of(name) not in system.options.replaced]
    names += [TRIMMER] if system.plan.has_trimmer else []
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
        *([AUTH_IS_OFF] if system.plan.auth == runfile.OFF else []),
        f"\nThe system is open at {system.url}  (API: {system.url}/docs)",
        *([f"The live page is at {page}"] if page else []),
        *([f"Its mails are at    {mails}"] if mails else []),
        f"Its logs are in     {system.logs}\n",
    ]
    if system.plan.auth == runfile.EXTERNAL:
        lines += [OTHER_ISSUER.format(issuer=system.options.settings["OIDC_ISSUER"])]
    elif system.plan.auth == runfile.LOCAL and (text := example_calls(system.url)):  # the calls send tokens
        lines += ["Try it, in another terminal:\n", text]
    return "\n".join([*lines, "Ctrl-C stops everything."])


def example_calls(url: str) -> str:
    """Return the calls that the project's file shows to new clients, with this address."""
    return declared_text(EXAMPLE_CALLS).replace("{url}", url)
