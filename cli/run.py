"""`sidecart run`: the shop in the foreground until Ctrl-C or SIGTERM; what ends by itself is started again."""

import argparse
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from chassis.repeats import Repeats
from cli import runfile
from cli.deadline import Deadline
from cli.errors import Interrupted, LaunchError
from cli.project import HOME
from cli.settings import external_servers, settings_from_environment
from cli.shop import Options, Report, Shop
from cli.supervisor import Supervisor
from cli.topology import app_of, metrics_of

WATCH_SECONDS = 0.3
REPORTED_FIRST, REPORT_SECONDS = 5, 600.0
"""What the supervisor reports more often than this is counted: a process that ends every minute fills no terminal."""


def run(options: argparse.Namespace) -> int:
    """Start, say how to use it, watch, stop; 0 if somebody stopped it, 1 if it could not go on."""
    deadline = stopped_by_signals()
    shop = Shop(shop_options(options, HOME, options.port), say, deadline)
    with runfile.held(options.broker, options.store):
        try:
            with shop:
                described(shop).write()
                _write_targets(shop)
                say(_welcome(shop))
                return _watch(shop, deadline)
        except Interrupted:
            say("stopped before it was ready")
            return 0
        finally:
            if shop.started:
                say("everything is stopped")


def shop_options(
    options: argparse.Namespace, folder: Path, port: int | None, without: frozenset[str] = frozenset()
) -> Options:
    """The options of a shop that the command line and the environment ask for."""
    return Options(
        broker=options.broker,
        store=options.store,
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
    """A deadline that SIGINT and SIGTERM break off; nothing is interrupted in the middle of a line of code."""
    deadline = Deadline()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: deadline.stop())
    return deadline


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def described(shop: Shop) -> runfile.RunFile:
    """What the other commands have to know of a shop that is ready."""
    return runfile.RunFile(
        launcher=os.getpid(),
        broker=shop.options.broker,
        store=shop.options.store,
        ready=True,
        url=shop.url,
        mail_url=shop.mails_at,
        monitor_url=shop.monitor_url,
        processes=shop.processes,
        ports=shop.ports,
        tokens=shop.tokens,
        resources={name: list(map(str, folders)) for name, folders in shop.resources.items()},
    )


def _write_targets(shop: Shop) -> None:
    """Where Prometheus finds the apps' metrics: the ports are new ones at each start (docs/grafana/prometheus.yml)."""
    names = [name for name in shop.replicas if app_of(name) not in shop.options.replaced]  # others may have none
    targets = [
        {"targets": [f"127.0.0.1:{shop.ports[metrics_of(name)]}"], "labels": {"app": app_of(name), "replica": name}}
        for name in names
    ]
    (HOME / "run" / "metrics.json").write_text(json.dumps(targets, indent=2), encoding="utf-8")


class ReportThrottle:
    """Prints what the supervisor reports; the same line again and again is counted, and the count is printed."""

    def __init__(self, say: Report, clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._repeats: Repeats[str] = Repeats(REPORTED_FIRST, REPORT_SECONDS)

    def __call__(self, text: str) -> None:
        """Print a line, or count it."""
        self.look()
        if self._repeats.is_shown(text, self._clock()):
            self._say(text)

    def look(self) -> None:
        """Print the counts whose time has come."""
        for text, times in self._repeats.over(self._clock()):
            self._say(f"{text} ({times:,} more times within {REPORT_SECONDS / 60:.0f} min)")


def _watch(shop: Shop, deadline: Deadline) -> int:
    throttle = ReportThrottle(say)
    supervisor = Supervisor(shop, throttle, lambda: described(shop).write())
    while True:
        try:
            supervisor.look()
            throttle.look()
            deadline.pause(WATCH_SECONDS)
        except Interrupted:
            say("stopping: gateway, sidecars, services, servers")
            return 0
        except LaunchError as error:
            say(f"{error}\nstopping the rest")
            return 1


def _welcome(shop: Shop) -> str:
    page = f"The live page is at {shop.monitor_url}\n" if shop.monitor_url else ""
    return f"""
The shop is open at {shop.url}  (API: {shop.url}/docs)
{page}\
Its mails are at    {shop.mails_at}
Its logs are in     {shop.logs}

Try it, in another terminal:

{calls(shop.url)}
Ctrl-C stops everything."""


def calls(url: str) -> str:
    """Three calls to paste into bash or zsh: the second and the third use the id that the first one was answered."""
    return f"""\
USER_ID=$(curl -s {url}/user/register -H 'content-type: application/json' \\
  -d '{{"email": "ann'$RANDOM'@example.com", "name": "Ann"}}' | tee /dev/stderr | grep -o '[0-9a-f-]\\{{36\\}}')
curl -s {url}/account/deposit -H 'content-type: application/json' \\
  -d '{{"user_id": "'$USER_ID'", "amount_cents": 10000}}'
curl -s {url}/order/create -H 'content-type: application/json' \\
  -d '{{"user_id": "'$USER_ID'", "items": [{{"sku": "tea", "quantity": 2, "unit_price_cents": 450}}]}}'
"""


def stop(options: argparse.Namespace) -> int:
    """`sidecart stop`: ask the launcher of the running shop to stop it, and wait until it has."""
    found = runfile.read()
    if found is None:
        say("no shop runs")
        return 0
    os.kill(found.launcher, signal.SIGTERM)
    deadline = Deadline()
    try:
        deadline.until(lambda: not runfile.is_locked(), options.seconds, lambda: "it still runs")
    except LaunchError:
        say(f"the launcher (pid {found.launcher}) did not stop within {options.seconds} s: see {HOME / 'logs'}")
        return 1
    say("stopped")
    return 0
