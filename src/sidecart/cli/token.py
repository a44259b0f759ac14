"""`sidecart token`: print an access token of the local issuer."""

from __future__ import annotations

from pathlib import Path

import click

from sidecart.cli.arguments import PATH
from sidecart.issuer import keys
from sidecart.issuer.tokens import SECONDS, token
from sidecart.launcher import runfile
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.plan import issuer_folder
from sidecart.launcher.project import home

HOURS_MAX = 24 * 30


@click.command("token")
@click.argument("address", metavar="ADDRESS", help="the caller, such as ann@example.com")
@click.option("--role", "roles", multiple=True, metavar="ROLE", help="a role, such as operator; repeatable")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="a scope, which some commands need; repeatable")
@click.option(
    "--hours",
    type=click.IntRange(1, HOURS_MAX),
    default=SECONDS // 3600,
    metavar="HOURS",
    help="how long the token is valid",
)
@click.option("--keys", "place", type=PATH, metavar="PATH", help="the issuer's key in PEM (containers), or its folder")
def command(address: str, roles: tuple[str, ...], scopes: tuple[str, ...], hours: int, place: Path | None) -> int:
    """Print an access token of the local issuer for the holder of an address.

    The gateway accepts it as a bearer token: the address counts as verified. The same address is
    the same caller each time. The command needs the key file of the issuer, which only you can
    read.
    """
    if address.count("@") != 1 or address.strip("@ ") != address:
        raise LaunchError(f"{address!r} is not an address such as ann@example.com")
    if place is None:
        _check_running()
    elif not place.exists():
        raise LaunchError(f"{place} does not exist: run ./make-secrets first")
    try:
        signing = keys.load(place or issuer_folder(home()))
    except (OSError, ValueError, KeyError) as error:
        raise LaunchError(f"the key file of the issuer cannot be used: {error}") from error
    print(token(signing, address, roles=roles, scopes=scopes, seconds=hours * 3600))
    return 0


def _check_running() -> None:
    """Raise LaunchError if the running system accepts no token of the local issuer."""
    system = runfile.read()
    if system is None or not system.ready:
        return  # the key outlives the system, so a token can be made before the start
    if system.auth == runfile.OFF:
        raise LaunchError("the running system has AUTH=off: it needs no token, because each body names its caller")
    if system.auth == runfile.EXTERNAL:
        raise LaunchError("the running system has another issuer (OIDC_ISSUER): get a token there")
