"""Certificates of the test's own making: an authority, and what it and others vouch for."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HERE = (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"))
ELSEWHERE = (x509.DNSName("another-host.example"),)
NOW = datetime.now(timezone.utc)
VALID = (NOW - timedelta(days=1), NOW + timedelta(days=1))
EXPIRED = (NOW - timedelta(days=2), NOW - timedelta(days=1))


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def server_context(self) -> ssl.SSLContext:
        """What a server with this certificate speaks TLS with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # The library takes the pair from a file only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(self.pem() + key)
            file.flush()
            context.load_cert_chain(file.name)
        return context

    def issue(
        self,
        names: tuple[x509.GeneralName, ...] = HERE,
        valid: tuple[datetime, datetime] = VALID,
    ) -> Certificate:
        """A server's certificate that this one vouches for."""
        return _make("a provider", self, names, valid)


def authority(name: str) -> Certificate:
    return _make(name, None, (), VALID)


def self_signed() -> Certificate:
    """A server's certificate for the right host that nobody vouches for."""
    return _make("a provider", None, HERE, VALID)


def _make(
    name: str,
    issuer: Certificate | None,
    names: tuple[x509.GeneralName, ...],
    valid: tuple[datetime, datetime],
) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(valid[0])
        .not_valid_after(valid[1])
        .add_extension(x509.BasicConstraints(ca=not names, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Certificate(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)
