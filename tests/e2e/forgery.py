"""Access tokens that the gateway must not accept, and a few odd ones that it must.

A `Forger` has the real signing key too, because some attacks need a token with a valid signature
and a wrong claim or header.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc.jwk import ECKey, RSAKey

from sidecart.edge.callers import TOKEN_CHARACTERS_MAX
from sidecart.edge.token_verifier import SKEW_SECONDS, SUBJECT_CHARACTERS_MAX
from sidecart.issuer import tokens
from sidecart.issuer.keys import ALGORITHM, CURVE, SigningKeys

ORDER_OF_THE_CURVE = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
FIELD_BYTES = 32
LONG_TOKEN_CHARACTERS = 9_000
SOON_SECONDS = 600
MINUTE_SECONDS = 65
"""A bounded skew is shorter than this, whatever the gateway's constant is."""


def encoded(value: object) -> str:
    """Return JSON, or bytes, in base64url without padding."""
    content = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def signature(key: ECKey, signed: str) -> bytes:
    """Return the ES256 signature of a text: r, then s."""
    private = key.private_key
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    numbers = decode_dss_signature(private.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return b"".join(number.to_bytes(FIELD_BYTES, "big") for number in numbers)


class Forger:
    """Makes tokens for one caller of a shop."""

    def __init__(self, signing: SigningKeys, address: str, trap: str) -> None:
        """Attack the caller with an address; `trap` is the URL of a server of the attacker."""
        self.real = signing.newest
        self.own = ECKey.generate_key(CURVE, {"kid": str(self.real.kid), "use": "sig", "alg": ALGORITHM})
        self.address = address
        self.trap = trap

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Return the claims of a good token with changes; None leaves a claim out."""
        now = int(time.time())
        good = {
            "iss": tokens.ISSUER,
            "aud": tokens.AUDIENCE,
            "sub": tokens.subject_of(self.address),
            "email": self.address,
            "email_verified": True,
            "iat": now,
            "exp": now + SOON_SECONDS,
            "roles": ["operator"],
            "scope": "deposits",
        }
        return {name: value for name, value in {**good, **changed}.items() if value is not None}

    def header(self, **changed: Any) -> dict[str, Any]:
        """Return the header of a good token with changes; None leaves a parameter out."""
        good = {"alg": ALGORITHM, "kid": str(self.real.kid), "typ": "at+jwt"}
        return {name: value for name, value in {**good, **changed}.items() if value is not None}

    def signed(self, claims: object, header: Mapping[str, Any] | None = None, key: ECKey | None = None) -> str:
        """Return a token, by default with a good header and signed with the real key."""
        text = f"{encoded(header or self.header())}.{encoded(claims)}"
        return f"{text}.{encoded(signature(key or self.real, text))}"

    def good(self, **changed: Any) -> str:
        """Return a token with the real signature and changed claims."""
        return self.signed(self.claims(**changed))

    def unsigned(self, algorithm: object) -> str:
        """Return a token without a signature."""
        return f"{encoded(self.header(alg=algorithm))}.{encoded(self.claims())}."

    def confused(self, secret: bytes, **header: Any) -> str:
        """Return a token with an HMAC whose secret is public."""
        text = f"{encoded(self.header(alg='HS256', **header))}.{encoded(self.claims())}"
        return f"{text}.{encoded(hmac.digest(secret, text.encode(), hashlib.sha256))}"

    def own_jwk(self) -> dict[str, Any]:
        """Return the attacker's public key."""
        return dict(self.own.as_dict(private=False))

    def by_own_key(self, **header: Any) -> str:
        """Return a token that the attacker's key signed."""
        return self.signed(self.claims(), self.header(**header), self.own)

    def with_parts(self, number: int, change: Callable[[str], str]) -> str:
        """Return a good token with one changed part."""
        parts = self.good().split(".")
        parts[number] = change(parts[number])
        return ".".join(parts)

    def with_signature(self, content: bytes) -> str:
        """Return a good token with another signature."""
        return self.with_parts(2, lambda _: encoded(content))

    def ended(self, seconds: float) -> str:
        """Return a token that ended some seconds ago."""
        return self.good(exp=int(time.time() - seconds))


def _der(forger: Forger) -> str:
    text = f"{encoded(forger.header())}.{encoded(forger.claims())}"
    private = forger.real.private_key
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    return f"{text}.{encoded(private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))}"


def _by_rsa(forger: Forger) -> str:
    key = RSAKey.generate_key(2048, {"kid": str(forger.real.kid)})
    return forger.by_own_key(alg="RS256", jwk=key.as_dict(private=False))


def _as_json(forger: Forger) -> str:
    header, payload, signed = forger.good().split(".")
    return json.dumps({"payload": payload, "protected": header, "signature": signed}).replace(" ", "")


Forgery = Callable[[Forger], str]
BEARER: dict[str, Forgery] = {
    # by another key
    "a forged signature": lambda forger: forger.by_own_key(),
    "a forged signature without a key id": lambda forger: forger.by_own_key(kid=None),
    "an unknown key id": lambda forger: forger.by_own_key(kid="another"),
    "a key id that is a path": lambda forger: forger.by_own_key(kid="../../../../dev/null"),
    "a key id that is a query": lambda forger: forger.by_own_key(kid="' UNION SELECT 'x"),
    "a key id that is a list": lambda forger: forger.by_own_key(kid=[str(forger.real.kid)]),
    "a key id that is a number": lambda forger: forger.by_own_key(kid=0),
    "an empty key id": lambda forger: forger.by_own_key(kid=""),
    "a header jwk": lambda forger: forger.by_own_key(jwk=forger.own_jwk()),
    "a header jwk without a key id": lambda forger: forger.by_own_key(kid=None, jwk=forger.own_jwk()),
    "a header jku": lambda forger: forger.by_own_key(kid="mine", jku=f"{forger.trap}/jwks.json"),
    "a header x5u": lambda forger: forger.by_own_key(kid="mine", x5u=f"{forger.trap}/chain.pem"),
    "a header x5c": lambda forger: forger.by_own_key(kid="mine", x5c=[base64.b64encode(b"certificate").decode()]),
    # the algorithm
    **{f"alg {name}": partial(Forger.unsigned, algorithm=name) for name in ("none", "None", "NONE", "nOnE")},
    "alg empty": lambda forger: forger.unsigned(""),
    "alg null": lambda forger: forger.unsigned(None),
    "alg a list": lambda forger: forger.unsigned(["none"]),
    "alg none with a signature": lambda forger: forger.signed(forger.claims(), forger.header(alg="none")),
    "key confusion with the PEM": lambda forger: forger.confused(forger.real.as_pem(private=False)),
    "key confusion with the DER": lambda forger: forger.confused(forger.real.as_der(private=False)),
    "key confusion with the JWK": lambda forger: forger.confused(
        json.dumps(forger.real.as_dict(private=False)).encode()
    ),
    "key confusion with an empty secret": lambda forger: forger.confused(b"", kid=None),
    "another curve": lambda forger: forger.signed(forger.claims(), forger.header(alg="ES384")),
    "RS256 with a jwk": _by_rsa,
    # the signature
    "no signature": lambda forger: forger.with_signature(b""),
    "a signature of zeros": lambda forger: forger.with_signature(bytes(2 * FIELD_BYTES)),
    "a signature of the order of the curve": lambda forger: forger.with_signature(
        ORDER_OF_THE_CURVE.to_bytes(FIELD_BYTES, "big") * 2
    ),
    "a signature cut short": lambda forger: forger.with_parts(2, lambda part: part[:40]),
    "a signature as DER": _der,
    "another payload": lambda forger: forger.with_parts(1, lambda _: encoded(forger.claims(sub="eve@example.com"))),
    "another header": lambda forger: forger.with_parts(0, lambda _: encoded(forger.header(typ="JWT"))),
    # the header
    "an unknown critical parameter": lambda forger: forger.signed(
        forger.claims(), forger.header(crit=["strict"], strict=True)
    ),
    "a critical parameter that is missing": lambda forger: forger.signed(forger.claims(), forger.header(crit=["b64"])),
    "an unencoded payload": lambda forger: forger.signed(forger.claims(), forger.header(crit=["b64"], b64=False)),
    "a header that is no object": lambda forger: f"{encoded([1])}.{encoded(forger.claims())}.{encoded(b'x' * 64)}",
    "a header that is a list of names": lambda forger: f"{encoded(['alg'])}.{encoded({})}.{encoded(b'x')}",
    "a header that is a text": lambda forger: f"{encoded('kid alg')}.{encoded({})}.{encoded(b'x')}",
    "a header nested too deep": lambda forger: f"{encoded(b'[' * 3_000)}.{encoded({})}.{encoded(b'x' * 64)}",
    # the claims
    "expired": lambda forger: forger.ended(SKEW_SECONDS + 5),
    "expired a minute ago": lambda forger: forger.ended(MINUTE_SECONDS),
    "expired long ago": lambda forger: forger.good(exp=1),
    "not yet valid": lambda forger: forger.good(nbf=int(time.time()) + SKEW_SECONDS + 60),
    "issued in the future": lambda forger: forger.good(iat=int(time.time()) + SKEW_SECONDS + 60),
    "valid in a minute": lambda forger: forger.good(nbf=int(time.time()) + MINUTE_SECONDS),
    "no end": lambda forger: forger.good(exp=None),
    "an end that is a text": lambda forger: forger.good(exp=str(int(time.time()) + 600)),
    "an end that is no number": lambda forger: forger.good(exp=float("nan")),
    "an end that is infinite": lambda forger: forger.good(exp=float("inf")),
    "an end of 400 digits": lambda forger: forger.good(exp=10**400),
    "an end that is true": lambda forger: forger.good(exp=True),
    "a wrong audience": lambda forger: forger.good(aud="another"),
    "audiences without ours": lambda forger: forger.good(aud=["another", "sidecart.example"]),
    "no audience": lambda forger: forger.good(aud=None),
    "an audience in capitals": lambda forger: forger.good(aud="SIDECART"),
    "a wrong issuer": lambda forger: forger.good(iss="http://issuer.example"),
    "an issuer with a slash": lambda forger: forger.good(iss=f"{tokens.ISSUER}/"),
    "no issuer": lambda forger: forger.good(iss=None),
    "no subject": lambda forger: forger.good(sub=None),
    "an empty subject": lambda forger: forger.good(sub=""),
    "a subject that is too long": lambda forger: forger.good(sub="x" * (SUBJECT_CHARACTERS_MAX + 1)),
    "a subject that is a list": lambda forger: forger.good(sub=[forger.address]),
    "claims that are a list": lambda forger: forger.signed([1]),
    # the form
    "garbage": lambda _: "garbage",
    "three parts of garbage": lambda _: "a.b.c",
    "dots": lambda _: "..",
    "five parts": lambda forger: f"{forger.good()}.x.y",
    "four parts": lambda forger: f"{forger.good()}.",
    "JSON serialization": _as_json,
    "bytes that are no text": lambda forger: f"{forger.good()}\xff\xfe",
    "two tokens": lambda forger: f"{forger.good()} {forger.good()}",
    "a list of tokens": lambda forger: f"{forger.good()},{forger.good()}",
    "9,000 characters": lambda forger: forger.good(padding="x" * LONG_TOKEN_CHARACTERS)[:LONG_TOKEN_CHARACTERS],
    "a valid token of 9,000 characters": lambda forger: forger.good(padding="x" * (LONG_TOKEN_CHARACTERS * 3 // 4)),
}
"""The bearer tokens of the requests, in Latin-1."""

HEADERS: dict[str, Callable[[Forger], list[tuple[str, str]]]] = {
    "no token": lambda _: [],
    "an empty header": lambda _: [("authorization", "")],
    "no token after the scheme": lambda _: [("authorization", "Bearer")],
    "no scheme": lambda forger: [("authorization", forger.good())],
    "another scheme": lambda forger: [("authorization", f"Token {forger.good()}")],
    "a password": lambda _: [("authorization", f"Basic {encoded(b'ann:secret')}")],
    "two headers with good tokens": lambda forger: [
        ("authorization", f"Bearer {forger.good()}"),
        ("authorization", f"Bearer {forger.good()}"),
    ],
    "a good token in front of a bad one": lambda forger: [
        ("authorization", f"Bearer {forger.good()}"),
        ("authorization", "Bearer x"),
    ],
    "the same header twice": lambda forger: [("authorization", f"Bearer {forger.good()}")] * 2,
    "the token as a cookie": lambda forger: [("cookie", f"access_token={forger.good()}")],
    "the token in another header": lambda forger: [("x-authorization", f"Bearer {forger.good()}")],
    "the sidecar's header": lambda forger: [("dapr-api-token", forger.good())],
}
"""The headers of the requests."""

ACCEPTED: dict[str, Forgery] = {
    "a good token": lambda forger: forger.good(),
    "one of several audiences": lambda forger: forger.good(aud=["another", tokens.AUDIENCE]),
    "expired within the skew": lambda forger: forger.ended(SKEW_SECONDS // 3),
    "valid from now on": lambda forger: forger.good(nbf=int(time.time()) + SKEW_SECONDS // 3),
    "unknown claims": lambda forger: forger.good(extra={"a": [1]}, nonce="x"),
}
"""Bearer tokens that are good: without them, a gateway that refuses everything would pass."""

assert LONG_TOKEN_CHARACTERS > TOKEN_CHARACTERS_MAX
