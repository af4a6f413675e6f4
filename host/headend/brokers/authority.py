"""The certificates of a utility's brokers: an authority of its own that signs for brokers, head ends and meters.

P-256 and SHA-256 throughout (RSA is dear on a meter). A meter's certificate names its number, a head end's its name,
both as the common name, which the broker takes for the user. The authority's key lies in a file of its own, encrypted,
and is needed for signing alone; it belongs on a machine that is not the broker's.

In the folder: `ca.pem`, `ca.key` (PKCS #8, encrypted), `ca.crl` (what is revoked, for the broker), `issued.jsonl` (a
line for each certificate: serial, kind, name, last second; and for each revocation).
"""

import datetime
import ipaddress
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from headend.brokers import rights
from headend.brokers.kept import append, write
from headend.refusals import Refused
from meterlink import topics
from meterlink.orders import MAX_METER

BROKER = "broker"
KINDS = (BROKER, rights.HEAD_END, rights.METER)
DAYS = {BROKER: 730, rights.HEAD_END: 730, rights.METER: 5_500}  # how long a certificate serves, unless told otherwise
CA_DAYS = 9_131  # 25 years: beyond the life of a meter
MOST_DAYS = 9_131
CRL_DAYS = 400
LEAST_PASSPHRASE = 12
_EARLY = datetime.timedelta(hours=1)  # a clock may be behind ours


@dataclass(frozen=True)
class Issued:
    """A line of `issued.jsonl`."""

    serial: str  # hexadecimal
    kind: str
    name: str
    not_after_s: int
    issued_s: int
    revoked_s: int = 0  # 0: it stands


class Authority:
    """Signs. `folder`: where its files are."""

    def __init__(self, folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.folder = folder
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, folder: Path, name: str, passphrase: str, now_s: int) -> Self:
        """Make an authority in a folder that holds none; raises Refused."""
        if len(passphrase) < LEAST_PASSPHRASE:
            raise Refused("passphrase", "…", f"at least {LEAST_PASSPHRASE} characters")
        if not 1 <= len(name) <= 64 or not name.isprintable():
            raise Refused("name", name, "1..64 printable characters")
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "ca.key").exists():
            raise Refused("folder", str(folder), "one without an authority; this holds one")
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        constraints = (x509.BasicConstraints(ca=True, path_length=0), _usage(key_cert_sign=True, crl_sign=True))
        builder = _builder(subject, subject, key.public_key(), now_s, CA_DAYS)
        for one in constraints:
            builder = builder.add_extension(one, critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        certificate = builder.sign(key, hashes.SHA256())
        secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase.encode()))
        write(folder / "ca.key", secret, 0o600)
        write(folder / "ca.pem", certificate.public_bytes(Encoding.PEM), 0o644)
        made = cls(folder, key, certificate)
        made._publish_revoked(now_s)
        return made

    @classmethod
    def open(cls, folder: Path, passphrase: str) -> Self:
        """The authority of a folder; raises Refused."""
        try:
            secret, public = (folder / "ca.key").read_bytes(), (folder / "ca.pem").read_bytes()
        except OSError as error:
            raise Refused("folder", str(folder), f"the folder of an authority ({error.strerror})") from error
        try:
            key = load_pem_private_key(secret, passphrase.encode())
        except ValueError as error:
            raise Refused("passphrase", "…", f"that of {folder / 'ca.key'}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise Refused("ca.key", str(folder / "ca.key"), "a key on P-256")
        return cls(folder, key, x509.load_pem_x509_certificate(public))

    def broker(self, names: list[str], now_s: int, days: int = DAYS[BROKER]) -> tuple[bytes, bytes]:
        """(certificate, key), PEM, of a broker that is reached by these host names and addresses."""
        if not names:
            raise Refused("names", "", "at least one host name or address")
        alternatives = x509.SubjectAlternativeName([_alternative(name) for name in names])
        return self._with_key(BROKER, names[0], now_s, days, alternatives)

    def head_end(self, name: str, now_s: int, days: int = DAYS[rights.HEAD_END]) -> tuple[bytes, bytes]:
        """(certificate, key), PEM, of a head end or one of its workers."""
        return self._with_key(rights.HEAD_END, rights.head_end_name(name), now_s, days)

    def meter(self, number: int, now_s: int, days: int = DAYS[rights.METER]) -> tuple[bytes, bytes]:
        """(certificate, key), PEM, of a meter that cannot make its own key."""
        return self._with_key(rights.METER, _meter_name(number), now_s, days)

    def meter_of_request(self, number: int, request: bytes, now_s: int, days: int = DAYS[rights.METER]) -> bytes:
        """The certificate, PEM, of a meter that has made its own key, from its PKCS #10 request (PEM).

        What the request says of its subject does not count: the number is the one that was ordered.
        """
        name = _meter_name(number)
        try:
            asked = x509.load_pem_x509_csr(request)
        except ValueError as error:
            raise Refused("request", f"{len(request)} bytes", "a PKCS #10 request, PEM") from error
        key = asked.public_key()
        if not asked.is_signature_valid:
            raise Refused("request", f"of meter {name}", "one that is signed with its own key")
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise Refused("request", f"of meter {name}", "a key on P-256")
        return self._issue(rights.METER, name, key, now_s, days)

    def revoke(self, kind: str, name: str, now_s: int) -> list[Issued]:
        """Revoke all certificates of a name; the broker refuses them as soon as it has read `ca.crl` again."""
        standing = [one for one in self.issued() if (one.kind, one.name) == (kind, name)]
        if not standing:
            raise Refused(kind, name, "the name of a certificate that stands")
        for one in standing:
            append(self.folder / "issued.jsonl", json.dumps({"serial": one.serial, "revoked_s": now_s}))
        self._publish_revoked(now_s)
        return standing

    def issued(self) -> list[Issued]:
        """The certificates that stand, in the order in which they were issued."""
        return [one for one in _read(self.folder / "issued.jsonl").values() if not one.revoked_s]

    def _with_key(
        self, kind: str, name: str, now_s: int, days: int, alternatives: x509.SubjectAlternativeName | None = None
    ) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._issue(kind, name, key.public_key(), now_s, days, alternatives)
        return certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def _issue(
        self,
        kind: str,
        name: str,
        key: ec.EllipticCurvePublicKey,
        now_s: int,
        days: int,
        alternatives: x509.SubjectAlternativeName | None = None,
    ) -> bytes:
        if not 1 <= days <= MOST_DAYS:
            raise Refused("days", days, f"1..{MOST_DAYS}")
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if kind == BROKER else ExtendedKeyUsageOID.CLIENT_AUTH
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = (
            _builder(subject, self._certificate.subject, key, now_s, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        )
        if alternatives is not None:
            builder = builder.add_extension(alternatives, critical=False)
        made = builder.sign(self._key, hashes.SHA256())
        line = Issued(f"{made.serial_number:x}", kind, name, int(made.not_valid_after_utc.timestamp()), now_s)
        append(self.folder / "issued.jsonl", json.dumps(asdict(line)))
        return made.public_bytes(Encoding.PEM)

    def _publish_revoked(self, now_s: int) -> None:
        now = _time(now_s)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - _EARLY)
            .next_update(now + datetime.timedelta(days=CRL_DAYS))
        )
        for one in _read(self.folder / "issued.jsonl").values():
            if one.revoked_s:
                gone = x509.RevokedCertificateBuilder().serial_number(int(one.serial, 16))
                builder = builder.add_revoked_certificate(gone.revocation_date(_time(one.revoked_s)).build())
        write(self.folder / "ca.crl", builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM), 0o644)


def _read(path: Path) -> dict[str, Issued]:
    """Serial -> what became of it; raises Refused for a line that is none."""
    found: dict[str, Issued] = {}
    for number, line in _lines(path):
        try:
            told = json.loads(line)
            before = found.get(told["serial"])
            found[told["serial"]] = Issued(**told) if before is None else Issued(**{**asdict(before), **told})
        except (ValueError, KeyError, TypeError) as error:
            raise Refused(f"{path}, line {number}", line[:60], "a certificate or a revocation") from error
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    if path.exists():
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.endswith("\n"):  # else power failed while it was written: nothing was given out for it
                    yield number, line


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now_s: int, days: int
) -> x509.CertificateBuilder:
    now = _time(now_s)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(int.from_bytes(os.urandom(19), "big") | 1)
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + datetime.timedelta(days=days))
    )


def _usage(**wanted: bool) -> x509.KeyUsage:
    known = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in known})


def _alternative(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        if not name.isascii() or not 1 <= len(name) <= 253:
            raise Refused("name", name, "a host name (ASCII) or an address") from None
        return x509.DNSName(name)


def _meter_name(number: int) -> str:
    if isinstance(number, bool) or not 1 <= number <= MAX_METER:
        raise Refused("meter", number, f"1..{MAX_METER}")
    return topics.meter_name(number)


def _time(unix_s: int) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(unix_s, datetime.UTC)
