"""Order envelope: a signed statement of a wanted state (docs/protocol.md, chapter Orders).

::

    statement (31 + body bytes)  |  signature r||s (64)  |  tag (8)          at most 240 bytes

======  ====  ==========================================================================================
offset  size  field of the statement
======  ====  ==========================================================================================
0       1     format = 1
1       1     aspect: what is stated (ASPECT_*)
2       6     meter: number of the meter
8       2     account_epoch: the account on that meter, 1..65535
10      1     role: of the signing key (ROLE_*)
11      1     key_version: of the signing key
12      1     tag_key_version: of the per-meter key
13      1     flags: bit 0 = the body travels apart and `body` is its length (4) and SHA-256 (32)
14      2     selector: source (credit), reason (supply), which keys (keys: KEYS_*), otherwise 0
16      2     signing_epoch: of the signing database, 1..65535
18      4     version: 1..2^32-1 within the signing epoch; 0 for credit, epoch and retire, which have none
22      4     issued_s: when it was stated
26      4     not_after_s: last second at which it may apply; 0 = never expires, as for those three
30      1     body_length: 0..137
31      n     body, by aspect (`bodies.py`, `tariff.py`)
======  ====  ==========================================================================================

The digest of an order is SHA-256("OP1O" + statement); the signature is ECDSA P-256 over that digest (FIPS 186-4). The
tag is the first 8 bytes of HMAC-SHA-256(per-meter key, "OP1T" + statement + signature), so that only holders of that
key can make a meter spend time on a signature. One encoding exists for one statement; anything else is refused.
"""

import hashlib
import struct

from meterlink import results
from meterlink.mac import LABEL_ORDER_DIGEST, LABEL_ORDER_TAG, TAG_LENGTH, MacKey

FORMAT = 1
HEAD_FORMAT = ">BBHIHBBBBHHIIIB"
HEAD_LENGTH = 31
SIGNATURE_LENGTH = 64
MAX_LENGTH = 240
MAX_BODY = MAX_LENGTH - HEAD_LENGTH - SIGNATURE_LENGTH - TAG_LENGTH
MAX_METER = 999_999_999_999_99  # 14 digits, below 2^48
MAX_VERSION_JUMP = 1000
MAX_EPOCH_JUMP = 16  # signing epochs ahead of the highest seen, without the root key
SOURCE_TYPED = 0xFFFF  # the source that typed tokens credit; no order states it
MAX_APART = 2048  # bytes of a body that travels apart

FLAG_BODY_APART = 1

ASPECT_CREDIT = 1
ASPECT_SUPPLY = 2
ASPECT_TARIFF = 3
ASPECT_LIMITS = 4
ASPECT_MODE = 5
ASPECT_CLOCK = 6
ASPECT_KEYS = 7
ASPECT_FIRMWARE = 8
ASPECT_CLEAR = 9
ASPECT_EPOCH = 10
ASPECT_RECOVER = 11
ASPECT_RETIRE = 12
ASPECT_DEBT = 13
ASPECT_LOAD = 14

ROLE_ROOT = 1  # offline; keys, firmware, epochs; may state all but what makes money
ROLE_CREDIT = 2
ROLE_CONTROL = 3

KEYS_SIGNING = 0  # selectors of a `keys` order: the public keys that the meter accepts
KEYS_TAG = 1  # the per-meter keys
KEYS_DECODER = 2  # the decoder key of typed tokens

# Account epochs outrank each other by themselves, credit by its totals: these have no version, and never expire.
UNVERSIONED = (ASPECT_CREDIT, ASPECT_EPOCH, ASPECT_RETIRE)

# Which key may state an aspect, beside root. Root cannot mint: credit, totals to recover and debts take the credit key.
ASPECT_ROLE = {
    ASPECT_CREDIT: ROLE_CREDIT,
    ASPECT_SUPPLY: ROLE_CONTROL,
    ASPECT_TARIFF: ROLE_CONTROL,
    ASPECT_LIMITS: ROLE_CONTROL,
    ASPECT_MODE: ROLE_CONTROL,
    ASPECT_CLOCK: ROLE_CONTROL,
    ASPECT_KEYS: ROLE_ROOT,
    ASPECT_FIRMWARE: ROLE_ROOT,
    ASPECT_CLEAR: ROLE_CONTROL,
    ASPECT_EPOCH: ROLE_ROOT,
    ASPECT_RECOVER: ROLE_CREDIT,
    ASPECT_RETIRE: ROLE_ROOT,
    ASPECT_DEBT: ROLE_CREDIT,
    ASPECT_LOAD: ROLE_CONTROL,
}


_SELECTORS = {
    ASPECT_CREDIT: (1, SOURCE_TYPED - 1),
    ASPECT_SUPPLY: (1, 31),
    ASPECT_KEYS: (KEYS_SIGNING, KEYS_DECODER),
    ASPECT_DEBT: (1, 3),
}
_APART = ">I32s"
APART_LENGTH = 36


class OrderError(ValueError):
    """An order that cannot be read; `code` is the result code, the text names field, value and expectation."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def may(role: int, aspect: int) -> bool:
    """Whether a key of `role` may state `aspect`."""
    needed = ASPECT_ROLE.get(aspect)
    return needed == role or (role == ROLE_ROOT and needed == ROLE_CONTROL)


class Statement:
    """What an order states, unsigned. Field names and ranges: the module's table; `body` holds encoded bytes."""

    def __init__(
        self,
        aspect: int,
        meter: int,
        account_epoch: int,
        role: int,
        key_version: int,
        tag_key_version: int,
        selector: int,
        signing_epoch: int,
        version: int,
        issued_s: int,
        not_after_s: int,
        body: bytes,
        flags: int = 0,
    ) -> None:
        self.aspect = aspect
        self.meter = meter
        self.account_epoch = account_epoch
        self.role = role
        self.key_version = key_version
        self.tag_key_version = tag_key_version
        self.selector = selector
        self.signing_epoch = signing_epoch
        self.version = version
        self.issued_s = issued_s
        self.not_after_s = not_after_s
        self.body = body
        self.flags = flags

    def encode(self) -> bytes:
        """The canonical bytes; raises OrderError where a field is out of its range."""
        _check(self)
        return (
            struct.pack(
                HEAD_FORMAT,
                FORMAT,
                self.aspect,
                self.meter >> 32,
                self.meter & 0xFFFFFFFF,
                self.account_epoch,
                self.role,
                self.key_version,
                self.tag_key_version,
                self.flags,
                self.selector,
                self.signing_epoch,
                self.version,
                self.issued_s,
                self.not_after_s,
                len(self.body),
            )
            + self.body
        )


def _check(s: Statement) -> None:
    _range("meter", s.meter, 1, MAX_METER)
    _range("account_epoch", s.account_epoch, 1, 0xFFFF)
    _range("role", s.role, ROLE_ROOT, ROLE_CONTROL)
    _range("key_version", s.key_version, 0, 0xFF)
    _range("tag_key_version", s.tag_key_version, 0, 0xFF)
    _range("flags", s.flags, 0, FLAG_BODY_APART)
    _range("selector", s.selector, 0, 0xFFFF)
    _range("signing_epoch", s.signing_epoch, 1, 0xFFFF)
    _range("issued_s", s.issued_s, 0, 0xFFFFFFFF)
    _range("not_after_s", s.not_after_s, 0, 0xFFFFFFFF)
    _range("body length", len(s.body), 0, MAX_BODY)
    if s.aspect not in ASPECT_ROLE:
        raise OrderError(results.UNKNOWN_ASPECT, "aspect: {} given, 1..{} expected".format(s.aspect, ASPECT_LOAD))
    if s.aspect in UNVERSIONED:
        _range("version", s.version, 0, 0)
        _range("not_after_s", s.not_after_s, 0, 0)
        _range("flags", s.flags, 0, 0)
    else:
        _range("version", s.version, 1, 0xFFFFFFFF)
        if s.flags:
            _range("body length", len(s.body), APART_LENGTH, APART_LENGTH)
            _range("length of the body apart", apart(s.body)[0], 1, MAX_APART)
    low, high = _SELECTORS.get(s.aspect, (0, 0))
    _range("selector", s.selector, low, high)


def _range(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise OrderError(results.BAD_FORMAT, "{}: {} given, {}..{} expected".format(field, value, low, high))


def apart(body: bytes) -> "tuple[int, bytes]":
    """(length, SHA-256) of a body that travels apart, from the body of the order that names it."""
    return struct.unpack(_APART, body)


def digest(statement: bytes) -> bytes:
    """SHA-256 of what is signed (32 bytes); its first 8 bytes name the order in receipts."""
    hasher = hashlib.sha256(LABEL_ORDER_DIGEST)
    hasher.update(statement)
    return hasher.digest()


def seal(statement: bytes, signature: bytes, key: MacKey) -> bytes:
    """The whole order: statement, signature (64 bytes, made over `digest(statement)`), tag under the per-meter key."""
    if len(signature) != SIGNATURE_LENGTH:
        raise ValueError("signature: {} bytes given, {} expected".format(len(signature), SIGNATURE_LENGTH))
    signed = statement + signature
    return signed + key.mac(LABEL_ORDER_TAG, signed, TAG_LENGTH)


class Order:
    """A decoded order: `statement` fields as attributes of `stated`, `signature`, `tag`, `digest` (32 bytes), `raw`."""

    def __init__(self, raw: bytes) -> None:
        """Read an order; raises OrderError (BAD_LENGTH, BAD_FORMAT, UNKNOWN_ASPECT). Nothing is verified here."""
        length = len(raw)
        if not HEAD_LENGTH + SIGNATURE_LENGTH + TAG_LENGTH <= length <= MAX_LENGTH:
            raise OrderError(results.BAD_LENGTH, "order: {} bytes given, 103..{} expected".format(length, MAX_LENGTH))
        f = struct.unpack_from(HEAD_FORMAT, raw, 0)
        if f[0] != FORMAT:
            raise OrderError(results.BAD_FORMAT, "format: {} given, {} expected".format(f[0], FORMAT))
        end = HEAD_LENGTH + f[14]
        if end + SIGNATURE_LENGTH + TAG_LENGTH != length:
            raise OrderError(
                results.BAD_LENGTH, "body_length: {} does not fit an order of {} bytes".format(f[14], length)
            )
        raw = bytes(raw)
        self.raw = raw
        self.stated = Statement(
            f[1],
            f[2] << 32 | f[3],
            f[4],
            f[5],
            f[6],
            f[7],
            f[9],
            f[10],
            f[11],
            f[12],
            f[13],
            raw[HEAD_LENGTH:end],
            f[8],
        )
        _check(self.stated)
        self.signature = raw[end : end + SIGNATURE_LENGTH]
        self.tag = raw[end + SIGNATURE_LENGTH :]
        self.digest = digest(raw[:end])

    def tag_is_genuine(self, key: MacKey) -> bool:
        """Whether the tag was made with the per-meter key over statement and signature."""
        return key.check(LABEL_ORDER_TAG, self.raw[:-TAG_LENGTH], self.tag)
