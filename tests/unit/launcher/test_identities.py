"""Tokens name one app each, and sentry's Configuration accepts tokens of this run only."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError
from joserfc.jwk import KeySet

from sidecart.launcher.identities import SENTRY_ID, TOKEN_SECONDS, Identities, mtls_flags


def keys_of(identities: Identities) -> KeySet:
    """The keys with which sentry checks tokens."""
    document = yaml.safe_load(identities.sentry_configuration.read_text(encoding="utf-8"))
    [validator] = document["spec"]["mtls"]["tokenValidators"]
    assert "jwks" == validator["name"]
    return KeySet.import_key_set(json.loads(validator["options"]["source"]))


def test_a_token_names_one_app(tmp_path: Path) -> None:
    """Sentry compares the subject with the certificate that the sidecar wants."""
    identities = Identities(tmp_path / "identities")
    identities.write()

    claims = jwt.decode(identities.token("order"), keys_of(identities), algorithms=["ES256"]).claims

    assert ("spiffe://public/ns/default/order", SENTRY_ID) == (claims["sub"], claims["aud"])
    assert claims["exp"] - time.time() == pytest.approx(TOKEN_SECONDS, abs=60)


def test_another_run_accepts_no_token_of_this_one(tmp_path: Path) -> None:
    """Each run has its own key, which is in no file."""
    first, second = Identities(tmp_path / "first"), Identities(tmp_path / "second")
    second.write()

    with pytest.raises(InvalidKeyIdError):
        jwt.decode(first.token("order"), keys_of(second), algorithms=["ES256"])
    assert not any(key.is_private for key in keys_of(second).keys)


def test_each_start_of_a_sidecar_gets_a_new_token(tmp_path: Path) -> None:
    """A sidecar that restarts after days starts with a fresh one, in a file of its own."""
    identities = Identities(tmp_path / "identities")
    environment = identities.environment("order", "order-1-sidecar")
    file = Path(environment["DAPR_SENTRY_TOKEN_FILE"])
    before = file.read_text(encoding="ascii")

    again = identities.environment("order", "order-1-sidecar")

    assert environment == again
    assert before != file.read_text(encoding="ascii")  # the signature is random
    assert ("order-1-sidecar", 0) == (file.name, file.stat().st_mode & 0o077)
    assert identities.authority.root == environment["DAPR_TRUST_ANCHORS"]


def test_a_start_removes_the_files_of_the_run_before(tmp_path: Path) -> None:
    """No old token or key stays behind."""
    old = tmp_path / "tokens" / "gone-sidecar"
    old.parent.mkdir()
    old.touch()

    Identities(tmp_path).write()

    assert not old.exists()
    assert ("--enable-mtls", "--sentry-address", "127.0.0.1:7") == mtls_flags(7)
