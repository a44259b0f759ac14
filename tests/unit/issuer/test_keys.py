"""The local issuer's keys: one private file, and a rotation that keeps the last key."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from sidecart.issuer import keys
from sidecart.issuer.tokens import ISSUER, token


def test_the_first_use_creates_a_private_file(tmp_path: Path) -> None:
    """Only the owner may read it, and the next use finds the same key."""
    folder = tmp_path / "issuer"

    made, again = keys.load(folder), keys.load(folder)

    assert made.public() == again.public()
    assert 0o600 == stat.S_IMODE((folder / keys.FILE).stat().st_mode)
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    assert [keys.FILE] == [each.name for each in folder.iterdir()]


def test_the_public_document_has_no_private_part(tmp_path: Path) -> None:
    """The member d of a JWK is the private key."""
    [public] = keys.load(tmp_path).public()["keys"]

    assert "d" not in public
    assert {"kid", "use", "alg", "kty", "crv", "x", "y"} == set(public)


def test_a_rotation_signs_with_a_new_key_and_keeps_the_one_before(tmp_path: Path) -> None:
    """A third key removes the first one."""
    first = keys.load(tmp_path)
    second = keys.rotate(tmp_path)
    third = keys.rotate(tmp_path)

    assert [second.newest.kid, first.newest.kid] == [key.kid for key in second.keys]
    assert [third.newest.kid, second.newest.kid] == [key.kid for key in keys.load(tmp_path).keys]


def test_a_token_is_signed_with_the_newest_key(tmp_path: Path) -> None:
    """The claims are those of an access token; the address is the subject, case-folded."""
    old = keys.load(tmp_path)
    new = keys.rotate(tmp_path)

    text = token(new, "Ann@Example.com", roles=("b", "a"), scopes=("y", "x"), seconds=60)
    found = jwt.decode(text, new.newest, algorithms=[keys.ALGORITHM])

    assert (ISSUER, "sidecart", "ann@example.com") == tuple(found.claims[name] for name in ("iss", "aud", "sub"))
    assert ("Ann@Example.com", True) == (found.claims["email"], found.claims["email_verified"])
    assert (["a", "b"], "x y", 60) == (
        found.claims["roles"],
        found.claims["scope"],
        found.claims["exp"] - found.claims["iat"],
    )
    assert {"at+jwt", new.newest.kid} <= set(found.header.values())
    with pytest.raises(JoseError):
        jwt.decode(text, old.newest, algorithms=[keys.ALGORITHM])


def test_a_key_in_pem_signs_tokens(tmp_path: Path) -> None:
    """The containers have such a file; the name of the key derives from the key."""
    file = tmp_path / "key.pem"
    file.write_bytes(ECKey.generate_key(keys.CURVE).as_pem(private=True))

    signing, again = keys.load(file), keys.load(file)
    [public] = signing.public()["keys"]
    found = jwt.decode(token(signing, "ann@example.com"), ECKey.import_key(public), algorithms=[keys.ALGORITHM])

    assert "ann@example.com" == found.claims["email"]
    assert signing.public() == again.public()
    assert {"kid", "use", "alg", "kty", "crv", "x", "y"} == set(public)
