"""Issues typed tokens: 20 digits of every class, what `token.decode` reads. For the host.

Whoever calls sees to it that no meter gets two tokens with one TID; the random number is given too. Everything raises
`FieldError`, which names field, value and expectation, and never a key.
"""

from meterlink.modbus import crc16
from meterlink.sts.amount import HELP_ALLOWANCE, HELP_RELEASE, MAX_UNITS
from meterlink.sts.dkga04 import BASES, FieldError, KeyAttributes, in_range
from meterlink.sts.encipher import Encipher
from meterlink.sts.misty1 import KEY_LENGTH
from meterlink.sts.token import (
    CREDIT,
    DISPLAY,
    KEY_SECTION_1,
    KEY_SECTION_2,
    KEY_SECTION_3,
    KEY_SECTION_4,
    KEY_SECTIONS,
    MANAGE,
    SUPPLY_HELP,
)

_DAY_MINUTES = 1440
_START_S = {1993: 725_846_400, 2014: 1_388_534_400, 2035: 2_051_222_400}  # 1 January, 00:00 UTC
_LAST_TID = 0xFFFFFF
_FIRST_CURRENCY = 4  # subclass of class 0

# class -> subclasses that are issued by `once`; key sections have a function of their own
_ONCE = {CREDIT: range(8), MANAGE: (0, 1, 2, 5, 6, 7, SUPPLY_HELP)}


def start_s(base: int) -> int:
    """When a base date is, in seconds since 1970 UTC."""
    if base not in _START_S:
        raise FieldError("base", base, " or ".join([str(year) for year in BASES]))
    return _START_S[base]


def tid_of(base: int, issued_s: int) -> int:
    """The TID of a token issued at `issued_s`: whole minutes since the base date, 24 bits (31.9 years).

    Minute 00:01 of a day is reserved (IEC 62055-41 6.3.5): 00:02 stands for it.
    """
    minutes = (issued_s - start_s(base)) // 60
    if not 0 <= minutes <= _LAST_TID:
        first, last = start_s(base), start_s(base) + 60 * _LAST_TID
        raise FieldError("issued", issued_s, "a time that base date {} holds, {}..{} s,".format(base, first, last))
    return minutes + 1 if minutes % _DAY_MINUTES == 1 else minutes


def issued_s(base: int, tid: int) -> int:
    """The minute that a TID is, in seconds since 1970 UTC."""
    return start_s(base) + 60 * in_range("tid", tid, 0, _LAST_TID)


def check_expiry(tid: int, ken: int) -> None:
    """A key number ends with the period of 65 536 minutes that it names: FieldError for a later TID."""
    if tid >> 16 > ken:
        raise FieldError("ken", ken, "at least {}, the period of the time of issue,".format(tid >> 16))


def register_of(units: int) -> int:
    """The register for an amount (0..MAX_UNITS): rounded up to its step, in favour of the customer; a step too many
    begins the next range."""
    left = in_range("units", units, 0, MAX_UNITS)
    for exponent in range(4):
        scale = 10**exponent
        mantissa = (left + scale - 1) // scale
        if mantissa < 0x4000:
            break
        left = max(0, left - 0x4000 * scale)
    return exponent << 14 | mantissa


def help_register(kind: int, value: int) -> int:
    """The register of a supply help token: HELP_RELEASE with 0, or HELP_ALLOWANCE with 1..4095 times 0.1 kWh."""
    in_range("kind", kind, HELP_RELEASE, HELP_ALLOWANCE)
    if kind == HELP_RELEASE:
        in_range("value", value, 0, 0)
    else:
        in_range("value", value, 1, 0xFFF)
    return kind << 12 | value


def once(
    key: bytes, token_class: int, subclass: int, rnd: int, tid: int, register: int, experimental_currency: bool = False
) -> str:
    """A token that a meter takes once: class 0, and class 2 but for key changes.

    rnd 0..15 · tid 0..2^24-1 (`tid_of`) · register 0..0xFFFF. The currency subclasses 4..7 have no public known answers
    and are refused unless `experimental_currency` is set.
    """
    in_range("rnd", rnd, 0, 15)
    in_range("tid", tid, 0, _LAST_TID)
    in_range("register", register, 0, 0xFFFF)
    subclasses = _ONCE.get(token_class)
    if subclasses is None:
        raise FieldError("class", token_class, "0 or 2")
    if subclass not in subclasses:
        raise FieldError("subclass", subclass, " or ".join([str(one) for one in subclasses]))
    if token_class == CREDIT and subclass >= _FIRST_CURRENCY and not experimental_currency:
        raise FieldError("subclass", subclass, "0..3 (currency is experimental and off)")
    return _digits(key, token_class, subclass, rnd << 40 | tid << 16 | register)


def display(subclass: int, control: int, maker: int) -> str:
    """A class 1 token, clear, for any meter: subclass 0 (control 36 bits, maker 8) or 1 (control 28, maker 16)."""
    in_range("subclass", subclass, 0, 1)
    bits = 16 if subclass else 8
    in_range("control", control, 0, (1 << 44 - bits) - 1)
    in_range("maker", maker, 0, (1 << bits) - 1)
    return _digits(b"", DISPLAY, subclass, control << bits | maker)


def key_change(
    old_key: bytes, new_key: bytes, new: KeyAttributes, rollover: bool = False, sections: int = 4
) -> "list[str]":
    """The sections 1, 2, 3, 4 of a key change, enciphered under the old key (layout: `keychange`).

    sections: 4; or 2, the first two, all that a change of a 64-bit key has.
    """
    if sections not in (2, 4):
        raise FieldError("sections", sections, "2 or 4")
    if len(new_key) != KEY_LENGTH:
        raise FieldError("new key", "{} bytes".format(len(new_key)), "{} bytes".format(KEY_LENGTH))
    high, middle_2, middle_1, low = [int.from_bytes(new_key[at : at + 4], "big") for at in range(0, KEY_LENGTH, 4)]
    first = (new.ken >> 4) << 8 | new.krn << 4 | int(rollover) << 3 | new.kt
    data = {
        KEY_SECTION_1: first << 32 | high,
        KEY_SECTION_2: ((new.ken & 15) << 8 | new.ti) << 32 | low,
        KEY_SECTION_3: (new.sgc & 0xFFF) << 32 | middle_2,
        KEY_SECTION_4: (new.sgc >> 12) << 32 | middle_1,
    }
    return [_digits(old_key, MANAGE, subclass, data[subclass]) for subclass in KEY_SECTIONS[:sections]]


def _digits(key: bytes, token_class: int, subclass: int, data: int) -> str:
    octets = (subclass << 44 | data).to_bytes(6, "big")
    octets += crc16(bytes([token_class]) + octets).to_bytes(2, "little")
    if token_class != DISPLAY:
        if len(key) != KEY_LENGTH:
            raise FieldError("key", "{} bytes".format(len(key)), "{} bytes".format(KEY_LENGTH))
        octets = Encipher(key).encrypt(octets)
    block = int.from_bytes(octets, "big")
    saved = block >> 27 & 3
    number = saved << 64 | block & 0xFFFFFFFFE7FFFFFF | token_class << 27
    return "{:020}".format(number)
