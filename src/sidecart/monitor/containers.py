"""The live page in containers, where no launcher runs: the hosts of the processes follow a pattern.

`python -m sidecart.monitor.containers --app {app}:8000 --sidecar {app}-dapr:3500 --gateways 1`

The environment has the tokens of all apps and sidecars (`APP_TOKENS`, `SIDECAR_TOKENS`), and the
address and the login of the broker in the variables that components read. `--issuer-keys` names the
key of the local issuer, with which the page acts for every caller.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping

from sidecart.chassis.settings import SettingError, choice, text
from sidecart.edge.settings import GATEWAYS
from sidecart.issuer.tokens import ISSUER
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.servers.addresses import host_and_port
from sidecart.launcher.servers.brokers import BROKERS
from sidecart.launcher.servers.rabbitmq_keeper import TOKENS as SIDECAR_TOKENS
from sidecart.launcher.servers.rabbitmq_keeper import tokens_of
from sidecart.launcher.topology import app_of, replica_names, sidecar_of
from sidecart.monitor.__main__ import serve
from sidecart.monitor.settings import read

APP_TOKENS = "APP_TOKENS"


def environment(environ: Mapping[str, str], *, app: str, sidecar: str, gateways: int, keys: str) -> dict[str, str]:
    """Return the environment as the launcher would build it for the page.

    `app` and `sidecar` are host:port with {app} for the name of the replica. Without the local
    issuer the page gets no `keys`. Raises SettingError and LaunchError.
    """
    places, tokens = dict[str, str](), dict[str, str]()
    for name in replica_names(gateways, {}):
        for process, pattern, setting in ((name, app, APP_TOKENS), (sidecar_of(name), sidecar, SIDECAR_TOKENS)):
            places[process] = pattern.format(app=name)
            tokens[process] = _token(environ, setting, app_of(name))
    parsed = {name: host_and_port(name, place) for name, place in places.items()}
    return {
        **environ,
        "PROCESS_HOSTS": json.dumps({name: host for name, (host, _) in parsed.items()}),
        "PROCESS_PORTS": json.dumps({name: port for name, (_, port) in parsed.items()}),
        "PROCESS_TOKENS": json.dumps(tokens),
        "BROKER_ADDRESS": _broker_address(environ),
        GATEWAYS: str(gateways),
        "ISSUER_KEYS": keys if environ.get("OIDC_ISSUER") == ISSUER else "",
    }


def _token(environ: Mapping[str, str], setting: str, app_id: str) -> str:
    token = tokens_of(text(environ, setting)).get(app_id)
    if not token:
        raise SettingError(setting, f"has no token of {app_id}")
    return token


def _broker_address(environ: Mapping[str, str]) -> str:
    """Return the address of the broker with the page's login."""
    return BROKERS[choice(environ, "BROKER", tuple(BROKERS), "")].address_from(environ)


def main() -> None:
    """Read the settings, and serve the page until SIGTERM."""
    parser = argparse.ArgumentParser(description="Serves the live page next to processes of other containers.")
    parser.add_argument("--app", required=True, help="host:port of an app, with {app} for its name")
    parser.add_argument("--sidecar", required=True, help="host:port of the API of its sidecar")
    parser.add_argument("--gateways", type=int, default=1, help="how many gateways run; all have one token")
    parser.add_argument("--issuer-keys", default="", help="the key of the local issuer")
    options = parser.parse_args()
    try:
        env = environment(
            os.environ,
            app=options.app,
            sidecar=options.sidecar,
            gateways=options.gateways,
            keys=options.issuer_keys,
        )
    except LaunchError as error:
        sys.exit(str(error))
    serve(read(env))


if __name__ == "__main__":
    main()
