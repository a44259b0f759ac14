"""The settings of the apps on Kubernetes: those of dapr.yaml, and what each overlay adds.

Each ends in the ConfigMap of its app, which kustomize names by its content. So a changed setting
restarts the pods.
"""

from __future__ import annotations

from collections.abc import Mapping

from sidecart.chassis.reply_topics import GATEWAYS_MAX
from sidecart.edge.settings import GATEWAYS
from sidecart.kubernetes import names
from sidecart.kubernetes import trial as trials
from sidecart.kubernetes.pods import DRAIN_SECONDS
from sidecart.launcher.apps import read_apps
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.plan import MAIL_SERVER
from sidecart.launcher.lifecycle.settings import environment_of
from sidecart.launcher.project import PROJECT_FILE, declared, declared_text, root
from sidecart.launcher.topics import GATEWAY

Settings = dict[str, dict[str, str]]
"""The settings by app-id."""

CATCHER_SETTINGS = "mail_catcher_settings"
"""The entry of `[tool.sidecart]` with settings of apps that use a mail catcher in a cluster."""
HOSTS = ("", f".{names.NAMESPACE}", f".{names.NAMESPACE}.svc", f".{names.NAMESPACE}.svc.cluster.local")
PLACEHOLDER = {
    "OIDC_ISSUER": "https://issuer.example.com",
    "OIDC_AUDIENCE": "sidecart",
    "ALLOWED_HOSTS": "api.example.com",
}
PLACEHOLDER_MAIL = "smtps://mail.example.com:465"


def base() -> Settings:
    """Return the settings of every overlay."""
    found = {app_id: dict(app.env) for app_id, app in read_apps().items()}
    found[GATEWAY] |= {
        "DRAIN_SECONDS": str(DRAIN_SECONDS),
        "ALLOWED_HOSTS": ",".join(f"{GATEWAY}{suffix}" for suffix in HOSTS),
        GATEWAYS: str(GATEWAYS_MAX),  # an autoscaler may start as many without a restart of the others
    }
    return found


def trial() -> Settings:
    """Return the settings that the trial overlays add."""
    return {GATEWAY: trials.issuer_settings(), **{app_id: _catcher() for app_id in senders()}}


def external() -> Settings:
    """Return placeholders of the settings that only the operator of the system knows."""
    mail = declared_text(MAIL_SERVER)
    return {GATEWAY: dict(PLACEHOLDER), **{app_id: {mail: PLACEHOLDER_MAIL} for app_id in senders()}}


def senders() -> list[str]:
    """Return the apps that read the setting of the mail server; none if the project names none."""
    mail = declared_text(MAIL_SERVER)
    if not mail:
        return []
    known = {**trials.issuer_settings(), mail: PLACEHOLDER_MAIL}
    return [app_id for app_id in read_apps() if mail in environment_of(app_id, _fixed(), known)]


def _fixed() -> Mapping[str, str]:
    """Return the variables without which no app reads its settings."""
    ports = dict.fromkeys(("APP_PORT", "DAPR_HTTP_PORT", "DAPR_GRPC_PORT"), "1")
    return {**ports, "APP_API_TOKEN": "-", "DAPR_API_TOKEN": "-"}


def _catcher() -> dict[str, str]:
    extra = declared(root()).get(CATCHER_SETTINGS, {})
    if not isinstance(extra, dict):
        raise LaunchError(f"{root() / PROJECT_FILE}: {CATCHER_SETTINGS} in [tool.sidecart] is no table")
    server = {declared_text(MAIL_SERVER): f"smtp://{names.MAIL}:{names.SMTP_PORT}"}
    return server | {str(name): str(value) for name, value in extra.items()}
