"""A certificate authority of the test's own, made anew for each run."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.parts.missing import need_module


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


class Authority:
    """Issues certificates into `folder`; `file` is its own, to be trusted."""

    def __init__(self, folder: Path) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec

        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name("Test authority")
        self.file = folder / "authority.pem"
        self._write(self.file, self._certificate("Test authority", self._key))

    def issue(self, name: str, *, expired: bool = False) -> Issued:
        """Issue for a host name or address, or a client of that name."""
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        stem = name.replace(":", "-") + ("-expired" if expired else "")
        issued = Issued(self._folder / f"{stem}.pem", self._folder / f"{stem}.key")
        self._write(issued.cert, self._certificate(name, key, expired=expired))
        issued.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return issued

    def server(
        self, name: str, *, expired: bool = False, asks: bool = False
    ) -> ssl.SSLContext:
        """A server's context; with `asks`, only for clients we have certified."""
        issued = self.issue(name, expired=expired)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(issued.cert, issued.key)
        if asks:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.file)
        return context

    def _certificate(self, name: str, key: object, *, expired: bool = False) -> object:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        assert isinstance(key, ec.EllipticCurvePrivateKey)
        own = key is self._key
        now = datetime.now(UTC)
        ends = now - timedelta(days=1) if expired else now + timedelta(days=1)
        return (
            x509.CertificateBuilder()
            .subject_name(_name(name))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(own, None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_place(name)]), critical=False)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(
                    self._key.public_key()
                ),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )

    def _write(self, file: Path, certificate: object) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        assert isinstance(certificate, x509.Certificate)
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _name(text: str) -> object:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _place(name: str) -> object:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name.replace(" ", "-"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    need_module("cryptography")
    return Authority(tmp_path_factory.mktemp("certificates"))
