"""A process without one security control: `python -m tests.e2e.without <app-id> <control> [...]`.

The product has no such switches; this module patches the process before it starts. Further
arguments are those of the process.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from email.message import Message
from types import SimpleNamespace
from typing import Any

import msgspec
from joserfc.jwk import ECKey
from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.notification import email_templates
from services.order import domain as order
from sidecart.chassis import processor
from sidecart.chassis.server import protocol, serve
from sidecart.chassis.server.inbound import SidecarAuth
from sidecart.chassis.telemetry import logs
from sidecart.edge import bodies, commands_api, origins, queries_api, token_verifier
from sidecart.edge.callers import Caller, Callers
from sidecart.edge.issuer_keys import IssuerKeys
from sidecart.edge.key_secrets import KeySecrets, Secrets
from sidecart.edge.pending_commands import PendingCommands
from sidecart.edge.queries_api import QueriesApi
from sidecart.edge.token_verifier import TokenVerifier
from sidecart.launcher.apps import module_of
from sidecart.launcher.audit import Operator
from sidecart.launcher.monitor import NAME as MONITOR
from sidecart.launcher.servers import mail_http
from sidecart.monitor import app as page
from sidecart.monitor import origin_check
from sidecart.monitor.operators import KEY_HOLDER, VIA, Operators
from sidecart.monitor.page_key import PageKey

# mypy: disable-error-code="method-assign,assignment,attr-defined"
# Reason: this module exists to patch.

MAIL_CATCHER = "mail-catcher"
KNOWN_SECRET = bytes(32)
FOREVER = 10.0**9


def _claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def _without_claim(*names: str) -> None:
    original = TokenVerifier.__init__

    def init(self: TokenVerifier, *arguments: Any) -> None:
        original(self, *arguments)
        for name in names:
            self._claims.options.pop(name)

    TokenVerifier.__init__ = init


def token_signature() -> None:
    """Read the claims of a token without a look at its signature."""

    def decode(token: str, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(claims=_claims(token))

    token_verifier.jwt = SimpleNamespace(decode=decode, JWTClaimsRegistry=token_verifier.jwt.JWTClaimsRegistry)


def token_expiry() -> None:
    """Accept tokens for ever."""
    token_verifier.SKEW_SECONDS = FOREVER


def token_audience() -> None:
    """Accept tokens for other audiences."""
    _without_claim("aud")


def token_issuer() -> None:
    """Accept tokens that name another issuer."""
    _without_claim("iss")


def token_algorithms() -> None:
    """Let the token choose its algorithm, with the public key as the secret of an HMAC."""
    decode = token_verifier.jwt.decode

    def by_header(token: str, key: ECKey, algorithms: list[str]) -> Any:
        signed, _, signature = token.rpartition(".")
        if algorithms == ["none"]:
            return SimpleNamespace(claims=_claims(token))
        if algorithms == ["HS256"]:
            made = hmac.digest(key.as_pem(private=False), signed.encode(), hashlib.sha256)
            if base64.urlsafe_b64encode(made).rstrip(b"=").decode() == signature:
                return SimpleNamespace(claims=_claims(token))
        return decode(token, key, algorithms=algorithms)

    async def find(self: IssuerKeys, key_id: str | None) -> Any:
        key = await original(self, key_id)
        return None if key is None else _AnyAlgorithm(key)

    class _AnyAlgorithm:
        def __init__(self, key: Any) -> None:
            self.key = key

        def get(self, _name: str, default: str) -> str:
            return default

    original = IssuerKeys.find
    IssuerKeys.find = find
    token_verifier.ALGORITHMS = (*token_verifier.ALGORITHMS, "none", "HS256")
    token_verifier.jwt = SimpleNamespace(
        decode=lambda token, key, algorithms: by_header(token, key.key, algorithms),
        JWTClaimsRegistry=token_verifier.jwt.JWTClaimsRegistry,
    )


def place_of_a_token() -> None:
    """Take a token from the query, too."""
    original = Callers._sender

    async def sender(self: Callers, request: Request) -> Caller:
        if (token := request.query_params.get("access_token")) is not None:
            return await self._verified(token)
        return await original(self, request)

    Callers._sender = sender


def pace_of_key_lookups() -> None:
    """Ask the issuer for each unknown key."""
    IssuerKeys._may_ask = lambda self: True


def identity_of_the_body() -> None:
    """Trust the caller in the body, with any token."""

    def identity(declared: Any, caller: Caller | None) -> Mapping[str, str]:
        if caller is not None:
            caller.require_scope(declared.scope)
        return {}

    commands_api._identity = identity


def verified_address() -> None:
    """Take any address of a token for a verified one."""
    original = TokenVerifier._verified

    def verified(self: TokenVerifier, claims: Mapping[str, Any]) -> Any:
        return original(self, {**claims, "email_verified": True})

    TokenVerifier._verified = verified


def owner_in_the_path() -> None:
    """Let every caller read what a path names."""

    async def reader(self: QueriesApi, query: Any, request: Any) -> Caller | None:
        if self.callers is None or query.is_public:
            return None
        return await self.callers.of(request)

    QueriesApi._reader = reader


def owner_of_an_answer() -> None:
    """Let every caller read what a service answers."""
    queries_api._check_owner = lambda *_: None


def owner_of_a_pending_command() -> None:
    """Let every caller read a pending command."""

    class Anyone(str):
        __slots__ = ()

        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = str.__hash__

    original = PendingCommands.find

    async def find(self: PendingCommands, path: str) -> Any:
        record = await original(self, path)
        if record is not None:
            record.owner = Anyone(record.owner)
        return record

    PendingCommands.find = find


def scope_of_a_command() -> None:
    """Require no scope."""
    Caller.require_scope = lambda self, scope: None


def owner_of_a_key() -> None:
    """Let all callers share their Idempotency-Keys."""
    original = KeySecrets.resource_id

    async def resource_id(self: KeySecrets, route: str, owner: str, key: str) -> str:
        return await original(self, route, "", key)

    KeySecrets.resource_id = resource_id


def secret_of_the_key_ids() -> None:
    """Derive ids from a known secret."""

    async def load(self: KeySecrets) -> None:
        self._secrets, self._current = Secrets(KNOWN_SECRET.hex()), KNOWN_SECRET

    KeySecrets.load = load


def price_list() -> None:
    """Accept any price."""
    order._objection = lambda items, prices: None


def source_of_an_event() -> None:
    """Accept events of any source."""
    original = processor.parse

    def parse(topic: str, body: bytes, publisher: str) -> Any:
        return original(topic, body, str(msgspec.json.decode(body).get("source", "")))

    processor.parse = parse


def event_parser() -> None:
    """Take a message that is no event for a fault of the service, and try it again."""

    def parse(topic: str, body: bytes, publisher: str) -> Any:
        try:
            return original(topic, body, publisher)
        except Exception as error:
            raise ValueError("not an event") from error

    original = processor.parse
    processor.parse = parse


def token_of_an_app() -> None:
    """Let every program call the routes of the sidecar."""
    SidecarAuth._is_protected = lambda self, path: False


def request_framing() -> None:
    """Parse requests as uvicorn does."""
    serve.BoundedHttp = HttpToolsProtocol


def time_limits() -> None:
    """Wait for a head and a body for ever."""
    protocol.HEAD_SECONDS_MAX = protocol.BODY_SECONDS_MAX = FOREVER


def size_limits() -> None:
    """Read bodies of any size."""
    bodies.BODY_BYTES_MAX = int(FOREVER)


def parser_of_the_media_type() -> None:
    """Parse Content-Type with the standard library, whose time is quadratic."""

    def is_json(header: str) -> bool:
        message = Message()
        message["content-type"] = header
        message.get_param("charset", "utf-8")
        return message.get_content_type() == "application/json"

    bodies._is_json = is_json


def host_check() -> None:
    """Accept any Host."""
    origins.host_name = lambda host: "localhost"


def origin_check_of_the_gateway() -> None:
    """Accept any Origin."""
    original = origins.OriginCheck._problem

    def problem(self: origins.OriginCheck, scope: Any) -> Any:
        return original(self, {**scope, "headers": [each for each in scope["headers"] if each[0] != b"origin"]})

    origins.OriginCheck._problem = problem


def text_of_mails() -> None:
    """Show any SKU in a mail."""
    email_templates.SKU = re.compile(r"(?s).*")


def masking_of_logs() -> None:
    """Log addresses."""
    logs._masked = lambda _logger, _method, line: line


def control_characters_in_logs() -> None:
    """Log control characters as they are."""
    logs.CONTROL = re.compile(r"(?!)")


def key_of_the_live_page() -> None:
    """Open the page to every program."""
    PageKey._is_key = lambda self, sent: True


def host_and_origin_of_the_live_page() -> None:
    """Answer the requests of every page."""
    origin_check.OriginCheck._problem = lambda self, method, path, headers: None


def content_policy_of_the_mail_catcher() -> None:
    """Let a mail run any script."""
    mail_http.POLICY = ""


def content_policy() -> None:
    """Let the live page run any script."""
    origin_check.SECURITY = {"x-content-type-options": "nosniff"}


def operators() -> None:
    """Let every caller with the key of the page use the operator's view."""

    async def check(self: Operators, request: Any) -> Operator:
        return Operator(KEY_HOLDER, VIA)

    Operators.check = check
    assert page.Operators is Operators


def host_check_of_the_mail_catcher() -> None:
    """Show mails at any host name."""
    mail_http.host_name = lambda host: "localhost"


def nothing() -> None:
    """Take out no control."""


CONTROLS: dict[str, Callable[[], None]] = {
    each.__name__.replace("_", "-"): each
    for each in (
        *(token_signature, token_expiry, token_audience, token_issuer, token_algorithms, pace_of_key_lookups),
        *(identity_of_the_body, verified_address, scope_of_a_command, owner_of_a_key, secret_of_the_key_ids),
        *(owner_in_the_path, owner_of_an_answer, owner_of_a_pending_command, price_list),
        *(source_of_an_event, event_parser, token_of_an_app, request_framing, time_limits, size_limits),
        *(
            parser_of_the_media_type,
            host_check,
            origin_check_of_the_gateway,
            text_of_mails,
            masking_of_logs,
            control_characters_in_logs,
        ),
        *(key_of_the_live_page, host_and_origin_of_the_live_page, content_policy, operators),
        *(host_check_of_the_mail_catcher, content_policy_of_the_mail_catcher, place_of_a_token, nothing),
    )
}


def main() -> None:
    """Patch the process and run it."""
    app_id, control, *arguments = sys.argv[1:]
    CONTROLS[control]()
    sys.argv[1:] = arguments
    modules = {MONITOR: "sidecart.monitor.__main__", MAIL_CATCHER: "sidecart.launcher.servers.mailcatcher"}
    importlib.import_module(modules.get(app_id) or module_of(app_id)).main()


if __name__ == "__main__":
    main()
