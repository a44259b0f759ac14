"""`sidecart demo`: run the demo on a separate shop, or on a running one."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path

import click
import httpx
from joserfc.errors import JoseError
from joserfc.jws import extract_compact

from shop.acting import acting
from shop.demo import Demo, DemoFailed
from sidecart.cli.arguments import broker_option, kubernetes_option, store_option, with_option
from sidecart.cli.cluster import system_on
from sidecart.cli.names import completions
from sidecart.cli.run import say, stopped_by_signals
from sidecart.kubernetes import names
from sidecart.kubernetes.forwards import Forwards
from sidecart.kubernetes.trial import ISSUER_SECRET
from sidecart.launcher.deadline import Deadline
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.plan import issuer_folder
from sidecart.launcher.lifecycle.settings import external_servers, settings_from_environment
from sidecart.launcher.lifecycle.system import Options, System
from sidecart.launcher.project import home
from sidecart.launcher.topics import GATEWAY, app_ids
from sidecart.testkit.tap import Tap


@click.command("demo")
@broker_option
@store_option
@with_option
@click.option(
    "--without",
    multiple=True,
    metavar="APP",
    shell_complete=lambda _context, _param, incomplete: completions(app_ids, incomplete),
    help="do not start this app; repeatable",
)
@click.option(
    "--url", metavar="URL", help="use the running shop at this URL, start none (containers: http://127.0.0.1:8000)"
)
@click.option(
    "--mail-url", metavar="URL", default="http://127.0.0.1:8025", help="with --url: the URL of the mail catcher"
)
@kubernetes_option
@click.option(
    "--token",
    metavar="TOKEN",
    help="with --url or --kubernetes: an access token with a verified address and the scope deposits; without it, the "
    "key of the local issuer signs the tokens",
)
def command(
    broker: str,
    store: str,
    replaced: tuple[tuple[str, Path], ...],
    without: tuple[str, ...],
    url: str | None,
    mail_url: str,
    context: str | None,
    token: str | None,
) -> int:
    """Start a separate shop, run both flows, and show every event.

    The exit code is 1 if the shop differs from the sequence diagram.
    """
    if unknown := set(without) - set(app_ids()):
        raise LaunchError(f"there is no app {', '.join(sorted(unknown))}: choose from {', '.join(app_ids())}")
    deadline = stopped_by_signals()
    if context is not None:
        return _on_cluster(context, token, deadline)
    if url is not None:
        auth, email = _caller(token, issuer_folder(home()))
        return _outcome(Demo(url, mail_url, deadline, auth, email).play)
    if os.environ.get("SMTP_URL"):
        raise LaunchError("SMTP_URL is set, but the demo reads its mails from its own mail catcher: unset it")
    with tempfile.TemporaryDirectory(prefix="sidecart-demo-") as folder:
        options = Options(
            broker,
            store,
            folder=Path(folder),
            without=frozenset(without),
            replaced=dict(replaced),
            external=external_servers(),
            settings=settings_from_environment(),
        )
        with System(options, say, deadline) as shop:
            return _outcome(lambda: _on(shop))


def _on(shop: System) -> None:
    demo = Demo(shop.url, shop.mail_url, shop.deadline, acting(shop.issuer_folder))
    with Tap(shop, demo.show) as tap:
        demo.play(tap)


def _on_cluster(context: str, token: str | None, deadline: Deadline) -> int:
    """Play on the shop of a cluster, through port-forwards."""
    keys = home() / "kubernetes" / ISSUER_SECRET
    if token is None and not keys.exists():
        raise LaunchError(f"{keys} does not exist, the key of the shop's issuer: give --token")
    cluster = system_on(context)
    auth, email = _caller(token, keys)
    with Forwards(cluster, deadline) as forwards:
        url = f"http://127.0.0.1:{forwards.port(f'service/{GATEWAY}', names.APP_PORT)}"
        mail_url = f"http://127.0.0.1:{forwards.port(f'deployment/{names.MAIL}', names.MAILS_PORT)}"
        return _outcome(Demo(url, mail_url, deadline, auth, email).play)


def _caller(token: str | None, issuer: Path) -> tuple[httpx.Auth, str]:
    """Return the tokens of the demo, and the address in a given one."""
    return (acting(issuer), "") if token is None else (Bearer(token), address_in(token))


def _outcome(play: Callable[[], None]) -> int:
    try:
        play()
    except DemoFailed as failure:
        say(f"\ndemo failed: {failure}")
        return 1
    return 0


class Bearer(httpx.Auth):
    """Sends one token with each request."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add the header."""
        request.headers["authorization"] = f"Bearer {self._token}"
        yield request


def address_in(token: str) -> str:
    """Return the address in an access token; raise LaunchError if it has none."""
    try:
        found = json.loads(extract_compact(token.encode()).payload)["email"]
    except (JoseError, ValueError, KeyError, TypeError) as error:
        raise LaunchError("--token is no JWT with the claim email") from error
    return str(found)
