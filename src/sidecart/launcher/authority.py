"""The certificate authority of one run. Sentry signs the certificates of the sidecars with it.

Sentry could create it. It would then see its own files change, and stop serving three times in the
first six seconds (dapr 1.18.2, cmd/sentry/app).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

LIFETIME = timedelta(days=3650)
"""Longer than any run. Each start creates a new authority, so a short lifetime would protect
nothing, and would end a system that runs on.
"""
CLOCK_SKEW = timedelta(minutes=15)
"""How far the clock may go back, as sentry allows for the certificates that it signs."""
ROOT, ISSUER, ISSUER_KEY = "ca.crt", "issuer.crt", "issuer.key"
"""The files that sentry reads (dapr 1.18.2, pkg/sentry/config)."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The root certificate, and the issuer with which sentry signs; all are PEM texts.

    No key of the root is left: the root has signed this issuer, and can sign nothing else.
    """

    root: str
    issuer: str
    issuer_key: str

    def write(self, folder: Path) -> None:
        """Write the files of sentry into a folder that only its owner may enter."""
        for name, text in ((ROOT, self.root), (ISSUER, self.issuer), (ISSUER_KEY, self.issuer_key)):
            file = folder / name
            file.touch(mode=0o600)
            file.write_text(text, encoding="ascii")


def create_authority(title: str) -> Authority:
    """Create the authority of one run, whose certificates have this title."""
    root_key, issuer_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, title)])
    root = _certificate(name, root_key, name, root_key, path_length=1)
    issuer_name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, f"{title} issuer")])
    issuer = _certificate(issuer_name, issuer_key, name, root_key, path_length=0)
    key = issuer_key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Authority(_pem(root), _pem(issuer), key.decode("ascii"))


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    path_length: int,
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")
