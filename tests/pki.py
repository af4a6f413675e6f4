"""A small certificate authority for tests: P-256 certificates for servers and clients, in files of one folder."""

import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = datetime.timedelta(days=1)

# For HTTP without TLS: httpx gives each client a context, and each of its own loads all authorities of the web.
NOBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Authority:
    """Issues certificates into `folder`; `ca` is the path of its own. Two authorities do not trust each other."""

    def __init__(self, folder: Path, name: str = "test authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(
            self._name,
            self._key,
            [
                (x509.BasicConstraints(ca=True, path_length=0), True),
                (x509.KeyUsage(**_usages(key_cert_sign=True, crl_sign=True)), True),
            ],
            starts_in_days=-1,
            ends_in_days=30,
        )
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def server(self, *names: str, starts_in_days: int = -1, ends_in_days: int = 30) -> tuple[Path, Path]:
        """Paths of certificate and key for DNS names and IP addresses; by default those of this machine."""
        subject = names or ("localhost", "127.0.0.1")
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in subject])
        return self._issue(subject[0], ExtendedKeyUsageOID.SERVER_AUTH, alternatives, starts_in_days, ends_in_days)

    def client(self, name: str, starts_in_days: int = -1, ends_in_days: int = 30) -> tuple[Path, Path]:
        """Paths of certificate and key of a client whose identity (common name) is `name`."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, None, starts_in_days, ends_in_days)

    def _issue(
        self,
        name: str,
        purpose: x509.ObjectIdentifier,
        alternatives: x509.SubjectAlternativeName | None,
        starts_in_days: int,
        ends_in_days: int,
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        extensions: list[tuple[x509.ExtensionType, bool]] = [
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (x509.KeyUsage(**_usages(digital_signature=True)), True),
            (x509.ExtendedKeyUsage([purpose]), False),
        ]
        if alternatives is not None:
            extensions.append((alternatives, False))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, key, extensions, starts_in_days, ends_in_days)
        cert_path = self.folder / f"{name}.pem"
        key_path = self.folder / f"{name}.key"
        cert_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key_path.chmod(0o600)
        return cert_path, key_path

    def _sign(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        extensions: list[tuple[x509.ExtensionType, bool]],
        starts_in_days: int,
        ends_in_days: int,
    ) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + starts_in_days * _DAY)
            .not_valid_after(now + ends_in_days * _DAY)
        )
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256())


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _usages(**wanted: bool) -> dict[str, bool]:
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return {name: wanted.get(name, False) for name in names}
