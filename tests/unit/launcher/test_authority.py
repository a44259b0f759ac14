"""The authority of a run: a root that has signed one issuer, and the issuer's key."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sidecart.launcher.authority import CLOCK_SKEW, LIFETIME, create_authority


def test_the_root_has_signed_the_issuer() -> None:
    """The issuer can sign certificates, and no further authority."""
    made = create_authority("x")
    root, issuer = (x509.load_pem_x509_certificate(text.encode()) for text in (made.root, made.issuer))
    key = load_pem_private_key(made.issuer_key.encode(), None)

    issuer.verify_directly_issued_by(root)
    root.verify_directly_issued_by(root)
    assert key.public_key() == issuer.public_key() != root.public_key()
    limits = [each.extensions.get_extension_for_class(x509.BasicConstraints).value for each in (root, issuer)]
    assert [(True, 1), (True, 0)] == [(each.ca, each.path_length) for each in limits]


def test_it_outlives_any_run_and_a_clock_that_goes_back() -> None:
    """Sentry allows the same difference of clocks."""
    issuer = x509.load_pem_x509_certificate(create_authority("x").issuer.encode())
    now = datetime.now(UTC)

    assert abs((issuer.not_valid_after_utc - now - LIFETIME).total_seconds()) < 60
    assert abs((now - issuer.not_valid_before_utc - CLOCK_SKEW).total_seconds()) < 60


def test_each_run_has_its_own() -> None:
    """No authority signs for another run."""
    assert create_authority("x").root != create_authority("x").root


def test_its_files_are_private(tmp_path: Path) -> None:
    """Only the owner reads the key."""
    create_authority("x").write(tmp_path)

    assert {0} == {file.stat().st_mode & 0o077 for file in tmp_path.iterdir()}
