"""Keys and orders of a meter that belongs to nobody: what `openprepay sim meter` needs without a head end.

The keys are made from the meter's number, so everybody can make them: such a meter is a bench meter by nature.
"""

import hashlib

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from meterlink import bodies, orders, stating
from meterlink.image import read_manifest
from meterlink.mac import MacKey
from meterlink.provision import Provision
from meterlink.sts import dkga04, issue
from meterlink.tariff import Tariff

SOURCE = 1
KEY_VERSION = 1
_ORDER_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

DEFAULT_LIMITS = bodies.Limits(
    alarm_uc=10_000_000,
    alarm2_uc=5_000_000,
    trip_delay_s=900,
    dwell_s=10,
    spread_s=30,
    stable_s=10,
    max_current_ma=0,
)
DEFAULT_TARIFF = Tariff((580_000,))
KWH_TARIFF = Tariff((1_000_000,))  # of an account that counts kWh: a kWh costs one
CURRENCY = 156

VENDING_KEY = hashlib.sha256(b"openprepay bench vending key").digest()[: dkga04.VENDING_KEY_LENGTH]


class Workbench:
    """Keys of one bench meter. meter: its number, 1..10^14-1."""

    def __init__(self, meter: int, limits: bodies.Limits = DEFAULT_LIMITS, tariff: Tariff = DEFAULT_TARIFF) -> None:
        self.meter = meter
        self.tag_key = hashlib.sha256(f"openprepay bench tag {meter}".encode()).digest()
        self.mac_key = MacKey(self.tag_key)
        self._keys = {role: self._private(role) for role in (orders.ROLE_ROOT, orders.ROLE_CREDIT, orders.ROLE_CONTROL)}
        self._limits = limits
        self._tariff = tariff
        self._version = 0

    def _private(self, role: int) -> ec.EllipticCurvePrivateKey:
        seed = hashlib.sha256(f"openprepay bench key {self.meter} {role}".encode()).digest()
        return ec.derive_private_key(int.from_bytes(seed, "big") % (_ORDER_N - 1) + 1, ec.SECP256R1())

    def public_key(self, role: int) -> bytes:
        """X||Y, 64 bytes."""
        numbers = self._keys[role].public_key().public_numbers()
        return numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")

    @property
    def decoder(self) -> dkga04.KeyAttributes:
        """What the key of its typed tokens is bound to; it is derived from VENDING_KEY."""
        drn = f"600727{self.meter % 10**11:011d}"
        pan = next(pan for pan in (f"{drn}{check}" for check in range(10)) if dkga04.luhn(pan))
        return dkga04.KeyAttributes(pan, sgc=123457, ti=1, kt=dkga04.KT_DUTK, krn=1, base=2014)

    def decoder_key(self) -> bytes:
        """The key of its typed tokens, 16 bytes."""
        return dkga04.derive(VENDING_KEY, self.decoder)

    def token(self, token_class: int, subclass: int, tid: int, register: int) -> str:
        """A typed token for it: 20 digits."""
        return issue.once(self.decoder_key(), token_class, subclass, tid % 16, tid, register)

    def record(self, imp_per_kwh: int = 1600, interval_minutes: int = 15, currency: int = CURRENCY) -> bytes:
        """The provisioning record; currency: provision.CURRENCY_ENERGY for an account that counts kWh."""
        a = self.decoder
        attributes = a.sgc, a.kt, a.ti, a.krn, a.ken, dkga04.BASES.index(a.base)
        return Provision(
            meter=self.meter,
            account_epoch=1,
            tag_key_version=1,
            tag_key=self.tag_key,
            imp_per_kwh=imp_per_kwh,
            interval_minutes=interval_minutes,
            currency=currency,
            keys=tuple((role, KEY_VERSION, self.public_key(role)) for role in sorted(self._keys)),
            limits=self._limits.encode(),
            tariff=self._tariff.encode(),
            decoder=(self.decoder_key(), attributes),
        ).encode()

    def order(
        self,
        aspect: int,
        body: bytes,
        selector: int = 0,
        version: int | None = None,
        not_after_s: int = 0,
        issued_s: int = 0,
        role: int | None = None,
        signing_epoch: int = 1,
        account_epoch: int = 1,
        flags: int = 0,
    ) -> bytes:
        """A signed order; the next version of this bench unless one is given."""
        if version is None and aspect not in orders.UNVERSIONED:
            self._version += 1
        role = orders.ASPECT_ROLE[aspect] if role is None else role
        statement = orders.Statement(
            aspect=aspect,
            meter=self.meter,
            account_epoch=account_epoch,
            role=role,
            key_version=KEY_VERSION,
            tag_key_version=1,
            selector=selector,
            signing_epoch=signing_epoch,
            version=0 if aspect in orders.UNVERSIONED else version or self._version,
            issued_s=issued_s,
            not_after_s=not_after_s,
            body=body,
            flags=flags,
        ).encode()
        return orders.seal(statement, self.sign(role, orders.digest(statement)), self.mac_key)

    def firmware(self, image: bytes, version: int | None = None) -> bytes:
        """The order to run an image; ImageError where it is none."""
        found = read_manifest(image)
        body = stating.firmware(found.release, found.legal_version, len(image), hashlib.sha256(image).digest())
        return self.order(orders.ASPECT_FIRMWARE, body, version=version)

    def sign(self, role: int, digest: bytes) -> bytes:
        """r||s over a digest of 32 bytes."""
        signature = self._keys[role].sign(digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
        r, s = utils.decode_dss_signature(signature)
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    def credit(self, total_uc: int, refunded_uc: int = 0, source: int = SOURCE) -> bytes:
        """A credit order that states a source's totals."""
        return self.order(orders.ASPECT_CREDIT, bodies.encode_credit(total_uc, refunded_uc, []), selector=source)
