"""Bodies of the orders that open, close and mend an account, and change keys and firmware: keys, firmware, epoch,
recover, retire. They are encoded in `stating.py`.

Every `decode_*` raises `OrderError(BAD_BODY)` for what is not exactly one encoding.
"""

import struct

from meterlink import results
from meterlink.bodies import MAX_UC
from meterlink.mac import KEY_LENGTH, LABEL_WRAP, MacKey
from meterlink.orders import ROLE_CONTROL, ROLE_ROOT, SOURCE_TYPED, OrderError

FORMAT = 1
MAX_KEYS = 6
MAX_SOURCES = 8
MAX_TAG_KEYS = 2

EPOCH_COMMISSIONED = 1  # why an account epoch is opened
EPOCH_TENANT = 2
EPOCH_EXCHANGED = 3
EPOCH_REPAIRED = 4
EPOCH_IMPORTED = 5

_KEY = ">BB64s"
_KEY_LENGTH = 66
_FIRMWARE = ">BBBBHI32s"
_EPOCH = ">BBI"
_RETIRE = ">BB"
_RECOVER = ">B8sQQQHQQB"
_RECOVER_LENGTH = 52
_SOURCE = ">HQQ"
_SOURCE_LENGTH = 18
_DECODER = ">B16sIBBBBB"


def _bad(message: str) -> OrderError:
    return OrderError(results.BAD_BODY, message)


def _check(name: str, form: str, body: bytes) -> None:
    if len(body) != struct.calcsize(form) or body[0] != FORMAT:
        raise _bad("{} body: {} bytes of format {!r} given".format(name, len(body), body[:1]))


def decode_signing_keys(body: bytes) -> "tuple[tuple[int, int, bytes], ...]":
    """All public keys that the meter accepts from now on: (role, key_version, X||Y of 64 bytes), 3..6 of them, every
    role at least once; layout: format 1, count 1, count times (role 1, key_version 1, key 64)."""
    if len(body) < 2 or body[0] != FORMAT or len(body) != 2 + body[1] * _KEY_LENGTH or body[1] > MAX_KEYS:
        raise _bad("keys body: {} bytes do not fit at most {} keys".format(len(body), MAX_KEYS))
    keys = []
    for at in range(2, len(body), _KEY_LENGTH):
        keys.append(struct.unpack_from(_KEY, body, at))
    names = [key[:2] for key in keys]
    for role in range(ROLE_ROOT, ROLE_CONTROL + 1):
        if role not in [name[0] for name in names]:
            raise _bad("keys: none of role {}".format(role))
    if len(set(names)) != len(names) or max(names)[0] > ROLE_CONTROL or min(names)[0] < ROLE_ROOT:
        raise _bad("keys: {} given, known roles and no key twice expected".format(names))
    return tuple(keys)


def decode_tag_keys(body: bytes) -> "tuple[tuple[int, bytes], ...]":
    """All per-meter keys that the meter accepts from now on, the one that it uses first: (version, wrapped key of 32
    bytes, or b"" for one that it holds), 1 or 2; layout: format 1, count 1, count times (version 1, wrapped 1, key 0
    or 32). See `wrap`."""
    if len(body) < 4 or body[0] != FORMAT or not 1 <= body[1] <= MAX_TAG_KEYS:
        raise _bad("tag keys body: {} bytes given, 1 or 2 keys expected".format(len(body)))
    keys = []
    at = 2
    for _ in range(body[1]):
        if at + 2 > len(body) or body[at + 1] > 1:
            raise _bad("tag keys body: {} bytes do not fit".format(len(body)))
        length = KEY_LENGTH * body[at + 1]
        keys.append((body[at], bytes(body[at + 2 : at + 2 + length])))
        at += 2 + length
    if at != len(body) or (len(keys) == 2 and keys[0][0] == keys[1][0]):
        raise _bad("tag keys body: {} bytes do not fit its keys, or one stands twice".format(len(body)))
    return tuple(keys)


def decode_decoder(body: bytes) -> "tuple[bytes, tuple[int, int, int, int, int, int]]":
    """(wrapped decoder key of 16 bytes, (supply group code, key type, tariff index, key revision number, key expiry
    number, base date)) of typed tokens; base date 0: 1993, 1: 2014, 2: 2035. Layout: format 1, key 16, then in this
    order 4, 1, 1, 1, 1, 1. See `wrap`."""
    _check("decoder", _DECODER, body)
    f = struct.unpack(_DECODER, body)
    check_decoder(f[2:])
    return f[1], f[2:]


def check_decoder(attributes: "tuple[int, ...]") -> None:
    """Raise OrderError where attributes of a decoder key are out of their ranges (IEC 62055-41)."""
    group, key_type, tariff_index, revision, expiry, base = attributes
    if group > 999_999 or key_type > 3 or tariff_index > 99 or not 1 <= revision <= 9 or expiry > 255 or base > 2:
        raise _bad("decoder key attributes: {} given".format(attributes))


def wrap(tag_key: "MacKey", key: bytes, meter: int, signing_epoch: int, version: int, place: int) -> bytes:
    """Hide a key (16 or 32 bytes) on its way to a meter, or find it again: XOR with HMAC-SHA-256 under the per-meter
    key that the order's tag is made with, over meter 6, signing_epoch 2, version 4, place 1 (which key of the body).

    No two orders share those, so no key stream is used twice; that nobody changed it, the order's signature proves.
    """
    about = struct.pack(">HIHIB", meter >> 32, meter & 0xFFFFFFFF, signing_epoch, version, place)
    stream = tag_key.mac(LABEL_WRAP, about, len(key))
    return bytes([key[i] ^ stream[i] for i in range(len(key))])


def decode_firmware(body: bytes) -> "tuple[tuple[int, int, int], int, int, bytes]":
    """((major, minor, patch), legal version, length, SHA-256) of the image that the meter is to run; layout: format 1,
    major 1, minor 1, patch 1, legal 2, length 4, SHA-256 32."""
    _check("firmware", _FIRMWARE, body)
    f = struct.unpack(_FIRMWARE, body)
    if not f[5]:
        raise _bad("firmware: an image of 0 bytes")
    return f[1:4], f[4], f[5], f[6]


def decode_epoch(body: bytes) -> "tuple[int, int]":
    """(cause EPOCH_*, kept holds): the account that the order names is open. Of the old account's holds those in the
    mask stay (bit n: reason n), and safety in any case; layout: format 1, cause 1, kept 4."""
    _check("epoch", _EPOCH, body)
    f = struct.unpack(_EPOCH, body)
    if not EPOCH_COMMISSIONED <= f[1] <= EPOCH_IMPORTED:
        raise _bad("epoch cause: {} given".format(f[1]))
    return f[1], f[2]


def decode_retire(body: bytes) -> int:
    """Cause (EPOCH_*) for which the account that the order names is closed for good; layout: format 1, cause 1."""
    _check("retire", _RETIRE, body)
    f = struct.unpack(_RETIRE, body)
    if not EPOCH_TENANT <= f[1] <= EPOCH_REPAIRED:
        raise _bad("retire cause: {} given".format(f[1]))
    return f[1]


class Recovered:
    """The state that a meter whose history is lost goes on from.

    nonce: the meter's fresh one (8 bytes) · earned_uc, adjusted_uc, charged_uc, remainder (0..999): its money ·
    import_wh, export_wh: registers, taken where they are higher than its own · sources: ((number, credited_uc,
    refunded_uc), …), at most 8, `orders.SOURCE_TYPED` among them.
    """

    def __init__(
        self,
        nonce: bytes,
        earned_uc: int,
        adjusted_uc: int,
        charged_uc: int,
        remainder: int,
        import_wh: int,
        export_wh: int,
        sources: "tuple[tuple[int, int, int], ...]",
    ) -> None:
        self.nonce = nonce
        self.earned_uc = earned_uc
        self.adjusted_uc = adjusted_uc
        self.charged_uc = charged_uc
        self.remainder = remainder
        self.import_wh = import_wh
        self.export_wh = export_wh
        self.sources = sources

    def balance_uc(self) -> int:
        """What the meter will show."""
        credit_uc = sum([source[1] - source[2] for source in self.sources])
        return credit_uc + self.earned_uc - self.adjusted_uc - self.charged_uc


def decode_recover(body: bytes) -> Recovered:
    """Read `Recovered`; layout: format 1, nonce 8, earned 8, adjusted 8, charged 8, remainder 2, import_wh 8,
    export_wh 8, count 1, count times (source 2, credited 8, refunded 8)."""
    if len(body) < _RECOVER_LENGTH or body[0] != FORMAT:
        raise _bad("recover body: {} bytes given, at least {} expected".format(len(body), _RECOVER_LENGTH))
    f = struct.unpack_from(_RECOVER, body, 0)
    if f[8] > MAX_SOURCES or len(body) != _RECOVER_LENGTH + f[8] * _SOURCE_LENGTH:
        raise _bad("recover body: {} bytes do not fit {} sources".format(len(body), f[8]))
    if max(f[2], f[3], f[4], f[6], f[7]) > MAX_UC or f[5] > 999:
        raise _bad("recover: a total beyond {} or a remainder of {}".format(MAX_UC, f[5]))
    sources = []
    for at in range(_RECOVER_LENGTH, len(body), _SOURCE_LENGTH):
        sources.append(struct.unpack_from(_SOURCE, body, at))
    numbers = [source[0] for source in sources]
    if 0 in numbers or len(set(numbers)) != len(numbers):
        raise _bad("recover: sources {} given, each once and from 1 to {}".format(numbers, SOURCE_TYPED))
    for number, credited_uc, refunded_uc in sources:
        if refunded_uc > credited_uc or credited_uc > MAX_UC:
            raise _bad("source {}: refunded {} of {}".format(number, refunded_uc, credited_uc))
    if sum([source[1] for source in sources]) > MAX_UC:
        raise _bad("recover: the sources' credits exceed {}".format(MAX_UC))
    return Recovered(f[1], f[2], f[3], f[4], f[5], f[6], f[7], tuple(sources))
