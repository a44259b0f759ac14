"""The Secrets of an overlay: tokens, logins and the key of the local issuer.

The values are in .sidecart/kubernetes, which only its owner may read. Remove a folder there to
replace its values, then apply the Secrets again and restart the pods.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path

from sidecart.issuer import keys
from sidecart.kubernetes import names, options
from sidecart.kubernetes.documents import Document, document, text
from sidecart.kubernetes.kustomizations import OVERLAYS, Overlay
from sidecart.kubernetes.servers import ACL_FILE, DATABASE, DEFINITIONS_FILE, PASSWORD, ROLES_FILE
from sidecart.kubernetes.trial import ISSUER_SECRET
from sidecart.launcher.errors import LaunchError
from sidecart.launcher.lifecycle.options import EXTERNAL
from sidecart.launcher.lifecycle.settings import APP_LOGINS, app_logins, external_servers
from sidecart.launcher.permissions import ADMINISTRATOR, TRIMMER, keeper, permissions, trimmer
from sidecart.launcher.private_files import keep_private
from sidecart.launcher.project import home
from sidecart.launcher.servers.addresses import with_login
from sidecart.launcher.servers.logins import read_logins
from sidecart.launcher.servers.rabbitmq_definitions import definitions
from sidecart.launcher.servers.rabbitmq_definitions import hashed as hashed_for_rabbitmq
from sidecart.launcher.servers.registry import BROKERS, ENVIRONMENT, STORES
from sidecart.launcher.servers.server import Server
from sidecart.launcher.servers.valkey_acl import acl_file
from sidecart.launcher.servers.valkey_acl import hashed as hashed_for_redis
from sidecart.launcher.topics import MONITOR, app_ids

SERVERS: Mapping[str, Server] = {**BROKERS, **STORES}
ADDRESSES = {
    "redis": f"{names.server_host('redis')}:{names.SERVER_PORTS['redis']}",
    "rabbitmq": f"amqp://{names.server_host('rabbitmq')}:{names.SERVER_PORTS['rabbitmq']}",
    "postgres": f"postgres://{names.server_host('postgres')}:{names.SERVER_PORTS['postgres']}/{DATABASE}",
}
"""The addresses of the servers of the trial overlays, without a login."""


def secrets_text(overlay: str) -> str:
    """Return the Secrets of an overlay as YAML.

    Create the missing values. Raise LaunchError if an external server is not named.
    """
    keep_private(home())
    folder = home() / "kubernetes"
    return text(f"Secrets of the overlay {overlay}: never commit them.", _secrets(OVERLAYS[overlay], folder))


def password_of(server: str, login: str) -> str:
    """Return the password of a login at a server of a trial overlay."""
    return _logins(home() / "kubernetes" / server)[login]


def address_at(place: str, server: str, login: str, password: str) -> str:
    """Return the address of a server of a trial overlay at host:port instead of its own place."""
    scheme, separator, _ = ADDRESSES[server].rpartition("://")
    return with_login(f"{scheme}{separator}{place}", login, password)


def _secrets(overlay: Overlay, folder: Path) -> Iterator[Document]:
    yield from _tokens(folder / "tokens")
    if not overlay.is_trial:
        yield from _external(overlay)
        return
    logins = {each: _logins(folder / each) for each in overlay.servers}
    for login in (*app_ids(), options.SCALER):
        addresses = {each: with_login(ADDRESSES[each], login, logins[each][login]) for each in overlay.servers}
        yield _servers_of(login, addresses)
    if BROKERS[overlay.broker].trimmer_module:
        address = with_login(ADDRESSES[overlay.broker], TRIMMER, logins[overlay.broker][TRIMMER])
        yield _servers_of(TRIMMER, {overlay.broker: address})
    for server in overlay.servers:
        yield _server(server, logins[server])
    issuer = folder / ISSUER_SECRET
    keys.load(issuer)
    yield _secret(ISSUER_SECRET, {keys.FILE: (issuer / keys.FILE).read_text(encoding="utf-8")})


def _tokens(folder: Path) -> Iterator[Document]:
    wanted = [name(app_id) for app_id in app_ids() for name in (names.app_token_of, names.api_token_of)]
    folder.mkdir(parents=True, exist_ok=True)
    for name, token in read_logins(folder, wanted).items():
        yield _secret(name, {"token": token})


def _logins(folder: Path) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    return read_logins(folder, (ADMINISTRATOR, options.SCALER, TRIMMER, *(each.app_id for each in permissions())))


def _external(overlay: Overlay) -> Iterator[Document]:
    """The addresses of the operator's servers, with the logins of `sidecart credentials`."""
    known, has_own = external_servers(), app_logins()
    for name in overlay.servers:
        if SERVERS[name].env not in known:
            raise LaunchError(
                f"set {SERVERS[name].env} to the address of your {name}, and {APP_LOGINS}=on for own logins"
            )
    for app_id in app_ids():
        addresses = {name: known[SERVERS[name].env] for name in overlay.servers}
        if has_own:
            data = home() / EXTERNAL
            addresses = {name: SERVERS[name].address_of(app_id, each, data) for name, each in addresses.items()}
        yield _servers_of(app_id, addresses)
    # it counts and removes queues of gateways that have gone; `credentials` creates no login for it
    yield _servers_of(options.SCALER, {name: known[SERVERS[name].env] for name in overlay.servers})


def _servers_of(login: str, addresses: Mapping[str, str]) -> Document:
    found = dict.fromkeys(ENVIRONMENT, "")  # each variable must exist, also that of an unused server
    for name, address in addresses.items():
        found |= SERVERS[name].variables(address)
    return _secret(names.servers_of(login), found)


def _server(server: str, logins: Mapping[str, str]) -> Document:
    # the live page reads from the machine of an operator
    apps = [each for each in permissions() if each.has_records or each.app_id == MONITOR]
    if server == "redis":
        hashes = hashed_for_redis(logins)
        content = {ACL_FILE: acl_file(hashes, [*apps, keeper(options.SCALER), trimmer()])}
    elif server == "rabbitmq":
        content = {DEFINITIONS_FILE: definitions(hashed_for_rabbitmq(logins), [*apps, keeper(options.SCALER)])}
    else:
        commands = STORES[server].login_commands(logins, "")
        content = {ROLES_FILE: f"REVOKE ALL ON SCHEMA public FROM PUBLIC;\n{commands}"}
    return _secret(names.server_secret(server), {**content, PASSWORD: logins[ADMINISTRATOR]})


def _secret(name: str, content: Mapping[str, str]) -> Document:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in content.items()}
    return document("Secret", name, type="Opaque", data=data)
