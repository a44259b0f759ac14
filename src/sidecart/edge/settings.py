"""The settings of the gateway, in addition to those of every app."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sidecart.chassis import settings
from sidecart.chassis.reply_topics import GATEWAYS_MAX, REQUESTERS, is_requester
from sidecart.chassis.server.request_head import LOOPBACK_HOSTS

DRAIN_SECONDS_MAX = 10
ORIGIN = re.compile(r"https?://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


LIMIT_MAX = 10_000_000
OIDC, OFF = "oidc", "off"
AUDIENCE = "sidecart"
GATEWAYS = "GATEWAYS"
"""The setting with the number of gateways that may run."""
ROLES_CLAIM = "roles"
"""The claim of RFC 9068."""


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """The issuer of the callers' tokens."""

    issuer: str
    """The `iss` of each token."""
    audience: str = AUDIENCE
    """One of the values of each token's `aud`."""
    jwks_url: str = ""
    """The URL of the issuer's keys; empty to read it from the discovery document."""
    roles_claim: str = ROLES_CLAIM
    """The claim with the caller's roles; dots separate the names of nested objects."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of one gateway."""

    pod_name: str
    """The name of this replica."""
    drain_seconds: int
    """How long the gateway serves after the shutdown signal."""
    allowed_hosts: frozenset[str]
    """The names in the Host header of a request, in lower case and without a port."""
    cors_origins: tuple[str, ...]
    """The origins of the web pages that may call the gateway from a browser."""
    auth: AuthSettings | None
    """None: the gateway trusts each body (AUTH=off)."""
    requests_per_caller: int = 1_000
    """Within the window of `rate_limits`; 0 for no limit, as below."""
    requests_per_address: int = 2_000
    held_per_caller: int = 200
    gateways: int = 1
    """How many gateways may run. With more than one, each reads its own replies only."""

    @property
    def reply_to(self) -> str:
        """The reply address of this gateway; empty if it reads the shared topics."""
        return self.pod_name if self.gateways > 1 else ""


def read(environ: Mapping[str, str]) -> Settings:
    """Read the settings.

    The launcher does this too, before it starts any process, and passes on the settings that this
    reads.
    """
    return Settings(
        pod_name=_pod_name(environ),
        drain_seconds=settings.whole(environ, "DRAIN_SECONDS", 0, DRAIN_SECONDS_MAX, 0),
        allowed_hosts=_hosts(environ),
        cors_origins=_origins(environ),
        auth=read_auth(environ),
        requests_per_caller=settings.whole(environ, "REQUESTS_PER_CALLER", 0, LIMIT_MAX, 1_000),
        requests_per_address=settings.whole(environ, "REQUESTS_PER_ADDRESS", 0, LIMIT_MAX, 2_000),
        held_per_caller=settings.whole(environ, "HELD_PER_CALLER", 0, LIMIT_MAX, 200),
        gateways=read_gateways(environ),
    )


def read_gateways(environ: Mapping[str, str]) -> int:
    """Return how many gateways may run; raise SettingError."""
    return settings.whole(environ, GATEWAYS, 1, GATEWAYS_MAX, 1)


def _pod_name(environ: Mapping[str, str]) -> str:
    """Return the name of this replica; raise SettingError if no service could address it."""
    pod_name = settings.text(environ, "POD_NAME", REQUESTERS[0])
    if read_gateways(environ) > 1 and not is_requester(pod_name):
        raise settings.SettingError("POD_NAME", f"{pod_name!r} is not one of {REQUESTERS[0]} to {REQUESTERS[-1]}")
    return pod_name


def read_auth(environ: Mapping[str, str]) -> AuthSettings | None:
    """Return the issuer of the tokens; None with AUTH=off. Raise SettingError."""
    if settings.choice(environ, "AUTH", (OIDC, OFF), OIDC) == OFF:
        host = settings.host(environ, "APP_HOST", settings.LOOPBACK)
        if settings.in_url(host).lower() not in LOOPBACK_HOSTS:
            raise settings.SettingError("AUTH", f"off is for loopback only, but APP_HOST is {host}: set OIDC_ISSUER")
        return None
    if not environ.get("OIDC_ISSUER"):
        raise settings.SettingError("OIDC_ISSUER", "is missing: name the issuer of the tokens (docs/how-to/tokens.md)")
    return AuthSettings(
        issuer=_url(environ, "OIDC_ISSUER"),
        audience=settings.text(environ, "OIDC_AUDIENCE", AUDIENCE),
        jwks_url=_url(environ, "OIDC_JWKS") if environ.get("OIDC_JWKS") else "",
        roles_claim=settings.text(environ, "OIDC_ROLES_CLAIM", ROLES_CLAIM),
    )


def _url(environ: Mapping[str, str], name: str) -> str:
    url = settings.text(environ, name)
    if not is_safe(url):
        raise settings.SettingError(
            name, f"{url!r} is neither an https URL nor an http URL of this machine or of a container"
        )
    return url


def _hosts(environ: Mapping[str, str]) -> frozenset[str]:
    name = "ALLOWED_HOSTS"
    hosts = _words(environ.get(name, ""))
    # The launcher and the live page use these names, and no foreign name is equal to one of them.
    return frozenset({*LOOPBACK_HOSTS, *(settings.in_url(settings.host({name: each}, name)).lower() for each in hosts)})


def _origins(environ: Mapping[str, str]) -> tuple[str, ...]:
    name = "CORS_ORIGINS"
    origins = _words(environ.get(name, "").lower())
    for origin in origins:
        if not ORIGIN.fullmatch(origin):
            raise settings.SettingError(name, f"{origin!r} is not an origin such as https://web.example")
        if re.fullmatch(r"http:.*:80|https:.*:443", origin):
            raise settings.SettingError(name, f"{origin!r}: browsers leave out the default port")
    return tuple(origins)


def _words(value: str) -> list[str]:
    """Return the words of a comma-separated list."""
    return [word for each in value.split(",") if (word := each.strip())]


def is_safe(url: str) -> bool:
    """Return whether no one on a public network can change the answer.

    It is https, or http to this machine, or to a name without a dot: such a name belongs to a
    network of containers.
    """
    try:
        parts = urlsplit(url)
        return (parts.scheme == "https" and bool(parts.hostname)) or is_local(url)
    except ValueError:
        return False


def is_local(url: str) -> bool:
    """Return whether a URL is that of an HTTP server of this machine or of its containers."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    is_near = host in LOOPBACK_HOSTS or host.endswith(".localhost") or re.fullmatch(r"[a-z][a-z0-9-]*", host)
    return parts.scheme == "http" and bool(is_near)
