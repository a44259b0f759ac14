"""The environments of apps, of the live page and of the trimmer."""

from __future__ import annotations

from sidecart.edge.settings import GATEWAYS
from sidecart.issuer import tokens
from sidecart.issuer.keys import JWKS_PATH
from sidecart.launcher import monitor, proxy
from sidecart.launcher.environment import observed_environment, plain_environment
from sidecart.launcher.lifecycle.plan import ISSUER, MAIL_SMTP
from sidecart.launcher.lifecycle.settings import environment_of
from sidecart.launcher.lifecycle.state import State
from sidecart.launcher.lifecycle.wiring import Wiring
from sidecart.launcher.permissions import TRIMMER
from sidecart.launcher.topics import GATEWAY
from sidecart.launcher.topology import app_of, grpc_of, metrics_of, pod_name_of, sidecar_of

NOT_KNOWN_YET = "1"
"""A placeholder for a port or an address while the launcher checks settings before the start."""


def app_environment(state: State, wiring: Wiring, name: str) -> dict[str, str]:
    """Return the environment of a replica. Raise LaunchError for a missing or wrong setting."""
    plan, ports = state.plan, state.ports
    app, sidecar, known = plan.apps[app_of(name)], sidecar_of(name), state.sidecars.get(name)
    decided = {
        **plain_environment(),
        **observed_environment(),
        "PYTHONUNBUFFERED": "1",
        **plan.tokens.pair(name),
        "APP_PORT": str(ports[name]),
        "METRICS_PORT": str(ports[metrics_of(name)]),
        "DAPR_HTTP_PORT": str(wiring.port(sidecar, ports[sidecar])) if sidecar in ports else NOT_KNOWN_YET,
        "DAPR_GRPC_PORT": NOT_KNOWN_YET if known is None else str(wiring.port(grpc_of(name), known.grpc_port)),
        "POD_NAME": pod_name_of(name),
    }
    if plan.has_mail_catcher:
        decided[plan.mail_setting] = f"smtp://127.0.0.1:{wiring.port(MAIL_SMTP, ports[MAIL_SMTP])}"
    if app.app_id == GATEWAY:
        decided |= {**_issuer(state), GATEWAYS: str(plan.options.gateways)}
    defaults = {**({"DRAIN_SECONDS": str(proxy.DRAIN_SECONDS)} if plan.has_proxy else {}), **app.env}
    return {**environment_of(app.app_id, decided, plan.configured, defaults), **plan.options.env}


def monitor_environment(state: State) -> dict[str, str]:
    """Return the environment of the live page. Raise LaunchError for a wrong setting."""
    plan = state.plan
    servers = state.addresses_as(monitor.NAME)
    settings = {
        "BROKER": plan.options.broker,
        "STORE": plan.options.store,
        "BROKER_ADDRESS": servers.get(plan.broker.env if plan.broker else "") or NOT_KNOWN_YET,
        "GATEWAY_URL": state.url,
        "MAIL_URL": state.mail_url,
        GATEWAYS: str(plan.options.gateways),
        "PAGE_KEY": plan.page_key,
        **_issuer(state),
        **({"ISSUER_KEYS": str(plan.issuer_folder)} if plan.has_issuer else {}),
    }
    known = state.sidecars.get(monitor.NAME)
    grpc_port = int(NOT_KNOWN_YET) if known is None else known.grpc_port
    env = monitor.environment(state.ports, plan.replicas, plan.tokens, grpc_port, settings)
    return {**environment_of(monitor.NAME, env, plan.configured), **plan.options.env}


def trimmer_environment(state: State) -> dict[str, str]:
    """Return the environment of the trimmer. Raise LaunchError for a wrong setting."""
    broker = state.plan.broker
    assert broker is not None, "only a broker that the launcher knows has a trimmer"
    is_running = broker.env in state.addresses
    decided = {
        **plain_environment(),
        **(broker.variables(state.address_as(broker.env, TRIMMER)) if is_running else {}),
        "PYTHONUNBUFFERED": "1",
        "METRICS_PORT": str(state.ports[metrics_of(TRIMMER)]),
    }
    return environment_of(TRIMMER, decided, state.plan.configured)


def _issuer(state: State) -> dict[str, str]:
    """Return the settings of the local token issuer; empty with another one."""
    if not state.plan.has_issuer:
        return {}
    jwks = f"{state.local_url(ISSUER)}{JWKS_PATH}"
    return {"OIDC_ISSUER": tokens.ISSUER, "OIDC_AUDIENCE": tokens.AUDIENCE, "OIDC_JWKS": jwks}
