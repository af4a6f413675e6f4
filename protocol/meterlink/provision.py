"""The provisioning record: what a meter is given at commissioning, before it takes any order.

Layout: format 1 (2; 3 where the tariff has more than 255 bytes, whose length takes 2 then) | meter 6 | use 1
| account_epoch 2 | signing_epoch 2 | tag_key_version 1 | tag_key 32 | imp_per_kwh 4 | interval_minutes 1 | currency 2
| keys n 1 | n x (role 1, key_version 1, public key X||Y 64) | limits length 1 + body | tariff length 1 or 2 + body
| decoder length 1 (0 or 25) + (key 16, supply group code 4, key type 1, tariff index 1, key revision number 1, key
expiry number 1, base date 1) | first 16 bytes of SHA-256 over all before.

It holds secrets (the per-meter key, the decoder key): it is made by the head end's key store, travels only to the
meter, and is kept by neither tool nor log.
"""

import hashlib
import struct

from meterlink.bodies_root import check_decoder
from meterlink.mac import KEY_LENGTH, equal
from meterlink.orders import MAX_METER, ROLE_CONTROL, ROLE_ROOT, OrderError

FORMAT = 2
FORMAT_LONG = 3
USE_BENCH = 1  # keys of a bench: refused by a sealed meter
USE_PRODUCTION = 2  # refused by a bench meter, whose keys can be read out
MAX_KEYS = 6
CURRENCY_ENERGY = 0  # the account counts kWh: a "micro-currency" is a milliwatt-hour, a kWh costs 1 kWh
CHECK_LENGTH = 16
MAX_LENGTH = 1278  # its tail, behind 256 bytes, is one value in a meter's journal

_HEAD = ">BHIBHHB32sIBHB"
_HEAD_LENGTH = 53
_DECODER = ">16sIBBBBB"
_DECODER_LENGTH = 25


class ProvisionError(ValueError):
    """A provisioning record that is not taken; the text names field, value and expectation."""


class Provision:
    """What the record holds.

    meter 1..10^14-1 · account_epoch 1..65535 · tag_key 32 bytes · imp_per_kwh 1..1 000 000 · interval_minutes a
    divisor of 60 · currency ISO 4217 numeric, or CURRENCY_ENERGY · keys: ((role, key_version, public key of 64 bytes),
    …), at most 6 · limits (at most 255 bytes) and tariff: encoded bodies (`bodies.Limits.encode`,
    `tariff.Tariff.encode`) · use: USE_* · decoder: None, or (decoder key of 16 bytes, attributes as
    `bodies_root.decode_decoder` has them) · signing_epoch: of the database that the meter is made for; how far ahead an
    order is counts from there.
    """

    def __init__(
        self,
        meter: int,
        account_epoch: int,
        tag_key_version: int,
        tag_key: bytes,
        imp_per_kwh: int,
        interval_minutes: int,
        currency: int,
        keys: "tuple[tuple[int, int, bytes], ...]",
        limits: bytes,
        tariff: bytes,
        use: int = USE_BENCH,
        decoder: "tuple[bytes, tuple[int, ...]] | None" = None,
        signing_epoch: int = 1,
    ) -> None:
        self.meter = meter
        self.account_epoch = account_epoch
        self.tag_key_version = tag_key_version
        self.tag_key = tag_key
        self.imp_per_kwh = imp_per_kwh
        self.interval_minutes = interval_minutes
        self.currency = currency
        self.keys = keys
        self.limits = limits
        self.tariff = tariff
        self.use = use
        self.decoder = decoder
        self.signing_epoch = signing_epoch
        self._check()

    def _check(self) -> None:
        _range("meter", self.meter, 1, MAX_METER)
        _range("account_epoch", self.account_epoch, 1, 0xFFFF)
        _range("signing_epoch", self.signing_epoch, 1, 0xFFFF)
        _range("tag_key_version", self.tag_key_version, 0, 0xFF)
        _range("tag_key length", len(self.tag_key), KEY_LENGTH, KEY_LENGTH)
        _range("imp_per_kwh", self.imp_per_kwh, 1, 1_000_000)
        _range("currency", self.currency, 0, 999)
        _range("use", self.use, USE_BENCH, USE_PRODUCTION)
        _range("keys", len(self.keys), 1, MAX_KEYS)
        _range("limits length", len(self.limits), 0, 0xFF)
        if not 1 <= self.interval_minutes <= 60 or 60 % self.interval_minutes:
            raise ProvisionError("interval_minutes: {} given, a divisor of 60 expected".format(self.interval_minutes))
        for role, version, key in self.keys:
            _range("role", role, ROLE_ROOT, ROLE_CONTROL)
            _range("key_version", version, 0, 0xFF)
            _range("public key length", len(key), 64, 64)
        if self.decoder:
            _range("decoder key length", len(self.decoder[0]), 16, 16)
            try:
                check_decoder(self.decoder[1])
            except OrderError as error:
                raise ProvisionError(str(error))

    def encode(self) -> bytes:
        """The record as it goes to the meter."""
        out = struct.pack(
            _HEAD,
            FORMAT if len(self.tariff) <= 0xFF else FORMAT_LONG,
            self.meter >> 32,
            self.meter & 0xFFFFFFFF,
            self.use,
            self.account_epoch,
            self.signing_epoch,
            self.tag_key_version,
            self.tag_key,
            self.imp_per_kwh,
            self.interval_minutes,
            self.currency,
            len(self.keys),
        )
        for role, version, key in self.keys:
            out += bytes((role, version)) + key
        out += bytes((len(self.limits),)) + self.limits
        out += len(self.tariff).to_bytes(1 if len(self.tariff) <= 0xFF else 2, "big") + self.tariff
        decoder = struct.pack(_DECODER, self.decoder[0], *self.decoder[1]) if self.decoder else b""
        out += bytes((len(decoder),)) + decoder
        _range("record length", len(out) + CHECK_LENGTH, 0, MAX_LENGTH)
        return out + hashlib.sha256(out).digest()[:CHECK_LENGTH]


def decode(raw: bytes) -> Provision:
    """Read a record; raises ProvisionError where it is damaged or a field is out of its range."""
    if not _HEAD_LENGTH + CHECK_LENGTH < len(raw) <= MAX_LENGTH:
        raise ProvisionError("record: {} bytes given, at most {} expected".format(len(raw), MAX_LENGTH))
    raw = bytes(raw)
    if not equal(hashlib.sha256(raw[:-CHECK_LENGTH]).digest()[:CHECK_LENGTH], raw[-CHECK_LENGTH:]):
        raise ProvisionError("record: its check sum is wrong")
    f = struct.unpack_from(_HEAD, raw, 0)
    _range("format", f[0], FORMAT, FORMAT_LONG)
    at = _HEAD_LENGTH
    keys = []
    for _ in range(f[11]):
        keys.append((raw[at], raw[at + 1], raw[at + 2 : at + 66]))
        at += 66
    limits = raw[at + 1 : at + 1 + raw[at]]
    at += 1 + raw[at]
    wide = f[0] - FORMAT + 1
    length = int.from_bytes(raw[at : at + wide], "big")
    tariff = raw[at + wide : at + wide + length]
    at += wide + length
    if raw[at] not in (0, _DECODER_LENGTH) or at + 1 + raw[at] + CHECK_LENGTH != len(raw):
        raise ProvisionError("record: {} bytes do not fit its fields".format(len(raw)))
    decoder = None
    if raw[at]:
        values = struct.unpack_from(_DECODER, raw, at + 1)
        decoder = values[0], values[1:]
    return Provision(
        f[1] << 32 | f[2], f[4], f[6], f[7], f[8], f[9], f[10], tuple(keys), limits, tariff, f[3], decoder, f[5]
    )


def _range(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ProvisionError("{}: {} given, {}..{} expected".format(field, value, low, high))
