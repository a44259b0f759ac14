"""Only tokens of the configured issuer for this gateway name a caller."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from sidecart.edge.callers import Caller, Verified, caller_id
from sidecart.edge.issuer_keys import IssuerKeys
from sidecart.edge.problems import Problem
from sidecart.edge.settings import AuthSettings
from sidecart.edge.token_verifier import SKEW_SECONDS, TokenVerifier

ISSUER = "https://issuer.example"
EC = ECKey.generate_key("P-256", {"kid": "ec", "alg": "ES256", "use": "sig"})
RSA = RSAKey.generate_key(2048, {"kid": "rsa"})
OKP = OKPKey.generate_key("Ed25519", {"kid": "okp"})
STRANGE = ECKey.generate_key("P-256", {"kid": "ec"})
Claims = dict[str, Any]


def claims(**changed: object) -> Claims:
    """Return valid claims with some changes; None removes one."""
    now = int(time.time())
    found = {"iss": ISSUER, "aud": "sidecart", "sub": "ann", "iat": now, "exp": now + 60, **changed}
    return {name: value for name, value in found.items() if value is not None}


def signed(body: Mapping[str, Any], key: Any = EC, alg: str = "ES256", header: Mapping[str, Any] | None = None) -> str:
    """Return a signed token."""
    return jwt.encode({"alg": alg, "kid": key.kid, **(header or {})}, dict(body), key, algorithms=[alg])


def verify(token: str, roles_claim: str = "roles", published: list[dict[str, Any]] | None = None) -> Verified:
    """Verify a token with the keys of the issuer, or with other published ones."""
    jwks = {"keys": published or [key.as_dict(private=False) for key in (EC, RSA, OKP)]}

    async def run() -> Verified:
        keys = IssuerKeys(ISSUER, "https://issuer.example/jwks", lambda _url: json.dumps(jwks).encode())
        verifier = TokenVerifier(AuthSettings(ISSUER, roles_claim=roles_claim), keys)
        with pytest.raises(Problem) as early:
            await verifier.verify(token)
        assert 503 == early.value.status
        await keys._read_once()
        return await verifier.verify(token)

    return asyncio.run(run())


@pytest.mark.parametrize(("key", "alg"), [(EC, "ES256"), (RSA, "RS256"), (RSA, "PS384"), (OKP, "Ed25519")])
def test_a_token_of_the_issuer_names_the_caller(key: Any, alg: str) -> None:
    """The id derives from issuer and subject; the algorithms of common issuers work."""
    verified = verify(signed(claims(), key, alg))

    assert Caller(caller_id(ISSUER, "ann")) == verified.caller
    assert 0 < verified.expires_at - time.time() <= 60 + SKEW_SECONDS


def test_address_roles_and_scopes_come_from_the_claims() -> None:
    """The address must be verified; roles are a list or words, at any place."""
    full = claims(
        email="ann@example.com", email_verified=True, scope="deposits read", realm_access={"roles": ["operator", 7]}
    )

    caller = verify(signed(full), "realm_access.roles").caller

    assert ("ann@example.com", ["operator"]) == (caller.address, list(caller.roles))
    assert ["deposits", "read"] == sorted(caller.scopes)
    for unverified in (False, None, "true", 1):
        assert "" == verify(signed(full | {"email_verified": unverified})).caller.address
    assert frozenset() == verify(signed(claims(roles={"operator": True})), "roles").caller.roles


def keycloak_keys() -> list[dict[str, Any]]:
    """Return the JWKS of a realm: keys for signatures and for encryption, with certificates."""
    certificate = {"x5c": ["MIICmzCCAYMCBgF"], "x5t": "wbNkg7IM", "x5t#S256": "0q2Yr8Ksb"}
    encryption = RSAKey.generate_key(2048, {"kid": "enc"}).as_dict(private=False)
    return [
        {**encryption, "use": "enc", "alg": "RSA-OAEP", **certificate},
        {**RSA.as_dict(private=False), "use": "sig", "alg": "RS256", **certificate},
    ]


def keycloak_claims(**changed: object) -> Claims:
    """Return the claims of an access token of Keycloak 26, with a mapper for the audience."""
    return claims(
        auth_time=int(time.time()),
        jti="onrtac:2c1d8b9e",
        aud=["sidecart", "account"],
        typ="Bearer",
        azp="web",
        sid="9c1f0a52",
        acr="1",
        nbf=0,
        realm_access={"roles": ["default-roles-shop", "offline_access", "operator"]},
        resource_access={"account": {"roles": ["manage-account", "view-profile"]}},
        scope="openid deposits email profile",
        email="ann@example.com",
        email_verified=True,
        preferred_username="ann",
        **{"allowed-origins": ["https://web.example"], **changed},
    )


def test_a_token_of_keycloak_names_the_caller() -> None:
    """The audience is a list, the header has the type JWT, and the roles are nested."""
    token = signed(keycloak_claims(), RSA, "RS256", {"typ": "JWT"})

    caller = verify(token, "realm_access.roles", keycloak_keys()).caller

    assert (caller_id(ISSUER, "ann"), "ann@example.com", True) == (caller.id, caller.address, caller.is_operator)
    assert "deposits" in caller.scopes
    assert not verify(token, "roles", keycloak_keys()).caller.is_operator
    with pytest.raises(Problem) as refused:  # the default of Keycloak: no mapper for the audience
        verify(signed(keycloak_claims() | {"aud": "account"}, RSA, "RS256"), "roles", keycloak_keys())
    assert 401 == refused.value.status


@pytest.mark.parametrize("kind", ["at+jwt", "AT+JWT", "application/at+jwt", "JWT", None])
def test_the_type_may_be_missing(kind: str | None) -> None:
    """RFC 9068 names the type; older issuers use JWT or none."""
    token = signed(claims(), header={} if kind is None else {"typ": kind})

    assert caller_id(ISSUER, "ann") == verify(token).caller.id


def unsigned(header: Mapping[str, Any], body: Mapping[str, Any], signature: str = "") -> str:
    """Return a token with any header and signature."""
    parts = (base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in (header, body))
    return ".".join([*parts, signature])


def with_hmac(secret: bytes) -> str:
    """Return a token that is signed with a public value as the secret."""
    key = OctKey.import_key(base64.urlsafe_b64encode(secret).decode())
    registry = jws.JWSRegistry(algorithms=["HS256"])
    body = json.dumps(claims()).encode()
    return jws.serialize_compact({"alg": "HS256", "kid": "rsa"}, body, key, registry=registry)


FORGED: Mapping[str, Callable[[], str]] = {
    "another key of the same name": lambda: signed(claims(), STRANGE),
    "an unknown key": lambda: signed(claims(), ECKey.generate_key("P-256", {"kid": "new"})),
    "no signature": lambda: unsigned({"alg": "none", "kid": "ec"}, claims()),
    "none in capitals": lambda: unsigned({"alg": "NONE"}, claims()),
    "an empty signature": lambda: unsigned({"alg": "ES256", "kid": "ec"}, claims()),
    "the public key as an HMAC secret": lambda: with_hmac(RSA.as_pem(private=False)),
    "the JWK as an HMAC secret": lambda: with_hmac(json.dumps(RSA.as_dict(private=False)).encode()),
    "a key of the attacker in the header": lambda: signed(
        claims(), STRANGE, header={"jwk": STRANGE.as_dict(private=False)}
    ),
    "an algorithm that the key does not have": lambda: unsigned({"alg": "ES384", "kid": "ec"}, claims(), "AAAA"),
    "an unknown critical header": lambda: unsigned({"alg": "ES256", "kid": "ec", "crit": ["x"], "x": 1}, claims(), "A"),
    "an ID token of Keycloak": lambda: signed(claims(aud=["sidecart"], azp="sidecart", typ="ID")),
    "an ID token with the hash of an access token": lambda: signed(claims(at_hash="x")),
    "a logout token": lambda: signed(claims(), header={"typ": "logout+jwt"}),
    "a type that is no text": lambda: unsigned({"alg": "ES256", "kid": "ec", "typ": 7}, claims(), "AAAA"),
    "another issuer": lambda: signed(claims(iss="https://other.example")),
    "another audience": lambda: signed(claims(aud="another")),
    "no audience": lambda: signed(claims(aud=None)),
    "no subject": lambda: signed(claims(sub=None)),
    "an empty subject": lambda: signed(claims(sub="")),
    "a long subject": lambda: signed(claims(sub="x" * 256)),
    "a number as subject": lambda: signed(claims(sub=7)),
    "no end": lambda: signed(claims(exp=None)),
    "an end that is no number": lambda: signed(claims(exp="tomorrow")),
    "an end of 400 digits": lambda: signed(claims(exp=10**400)),
    "an infinite end": lambda: signed(claims(exp=float("inf"))),
    "expired": lambda: signed(claims(exp=int(time.time()) - SKEW_SECONDS - 1)),
    "not valid yet": lambda: signed(claims(nbf=int(time.time()) + SKEW_SECONDS + 5)),
    "made in the future": lambda: signed(claims(iat=int(time.time()) + SKEW_SECONDS + 5)),
    "a changed body": lambda: ".".join(
        [*signed(claims(sub="bob")).split(".")[:2], signed(claims()).rpartition(".")[2]]
    ),
    "a name that is no text": lambda: unsigned({"alg": "ES256", "kid": 7}, claims(), "AAAA"),
    "a list": lambda: unsigned({"alg": "ES256", "kid": "ec"}, [], "AAAA"),  # type: ignore[arg-type]  # the attack
    "no token": lambda: "garbage",
    "five parts": lambda: "a.b.c.d.e",
    "not ASCII": lambda: "é.é.é",
}


@pytest.mark.parametrize("make", FORGED.values(), ids=FORGED)
def test_no_other_token_is_valid(make: Callable[[], str]) -> None:
    """The answer is 401 with a challenge, and never repeats the token."""
    token = make()

    with pytest.raises(Problem) as refused:
        verify(token)

    assert (401, "unauthorized") == (refused.value.status, refused.value.kind)
    assert 'error="invalid_token"' in refused.value.headers["WWW-Authenticate"]
    assert token not in refused.value.detail


def test_clocks_may_differ_a_little() -> None:
    """A token that expired a moment ago still counts, as its issuer's clock may be behind."""
    now = int(time.time())

    assert verify(signed(claims(exp=now - SKEW_SECONDS + 10, iat=now + SKEW_SECONDS - 10))).caller.id
